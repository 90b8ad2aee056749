"""What ARCHITECTURE.md names is there: the tree of its layout, the files of its text, and what its table says keeps and
holds each promise."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PARTS = {
    "": "server/headrace_server/",
    "worker": "server/headrace_worker/",
    "client": "client/headrace/",
    "on the worker": "server/headrace_worker/",
}
"""Where the paths of the table's second column are, by the word before them."""
COUNTS = {"S": 8, "L": 7, "C": 3, "R": 6, "Q": 9, "K": 4, "E": 9, "X": 8}
"""How many promises there are, by the letter of what they are about."""
INDENTED_MOST = 12
"""What is further to the right in the layout goes on with the words of the line before."""


def section(title: str) -> str:
    """The text under a heading."""
    _, _, rest = TEXT.partition(f"\n## {title}\n")
    assert rest, title
    return rest.partition("\n## ")[0]


def laid_out() -> Iterator[str]:
    """The paths of the layout, each line of which stands below the folder that its indentation says."""
    (block,) = re.findall(r"```\n(.*?)```", section("Layout"), re.DOTALL)
    above: list[tuple[int, str]] = []
    for line in block.splitlines():
        indent = len(line) - len(line.lstrip())
        if indent > INDENTED_MOST:
            continue
        above = [(depth, folder) for depth, folder in above if depth < indent]
        base = above[-1][1] if above else ""
        for word in line.split():
            if not re.fullmatch(r"[\w/]+(\.py|/)", word):
                break
            yield base + word
            if word.endswith("/"):
                above.append((indent, base + word))


def promises() -> list[tuple[str, str, str]]:
    """Promises of the table, with the cells that say where they are kept and which tests hold them."""
    rows = re.findall(r"^\| ([A-Z]\d[^|]*) \|[^|]*\| ([^|]*) \| ([^|]*) \|", section("Promises, files and tests"), re.M)
    return [(numbers, where, tests) for numbers, where, tests in rows]


def kept_in(where: str) -> Iterator[tuple[str, ...]]:
    """What the paths of a cell such as "`core/retry.py`; worker `executors/claude/failure.py`" may mean: a path is
    below its part of the product, or beside the one before it."""
    for clause in where.split(";"):
        part = PARTS[clause.partition("`")[0].strip()]
        beside = part
        for path in re.findall(r"`([^`]+)`", clause):
            yield (part + path, f"{beside}{path}")
            beside = f"{part}{path.rpartition('/')[0]}/" if "/" in path else beside


def names_one_of(numbers: str, module: str) -> bool:
    """Whether a test of a module names one of some promises."""
    wanted = "|".join(number.strip().lower() for number in numbers.split(","))
    return (
        re.search(rf"def test_(?:[a-z]\d+_)*(?:{wanted})_", (ROOT / "tests" / f"{module}.py").read_text()) is not None
    )


def test_the_layout_is_the_tree_that_is_there() -> None:
    paths = list(laid_out())
    assert len(paths) > 50
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_folder_of_the_product_is_in_the_layout() -> None:
    named = section("Layout")
    folders = {
        file.parent.name
        for root in ("client/headrace", "server/headrace_server", "server/headrace_worker")
        for file in (ROOT / root).rglob("__init__.py")
    }
    assert [folder for folder in sorted(folders) if f"{folder}/" not in named] == []


def test_files_that_the_text_names_exist() -> None:
    files = [
        str(path.relative_to(ROOT)) for top in ("client", "server", "tests") for path in (ROOT / top).rglob("*.py")
    ]
    named = set(re.findall(r"`([\w/]+\.py)`", TEXT))
    assert [path for path in sorted(named) if not any(f"/{file}".endswith(f"/{path}") for file in files)] == []


@pytest.mark.parametrize(("numbers", "where", "tests"), promises(), ids=[row[0] for row in promises()])
def test_what_keeps_a_promise_and_what_holds_it_is_there(numbers: str, where: str, tests: str) -> None:
    kept = list(kept_in(where))
    assert kept
    assert [paths for paths in kept if not any((ROOT / path).exists() for path in paths)] == []
    holding = re.findall(r"\b[a-z0-9]+/test_\w+", tests)
    assert [name for name in holding if not (ROOT / "tests" / f"{name}.py").exists()] == []
    assert any(names_one_of(numbers, name) for name in holding)


def test_the_table_has_every_promise() -> None:
    wanted = [f"{letter}{number}" for letter, count in COUNTS.items() for number in range(1, count + 1)]
    found = {number.strip() for numbers, _, _ in promises() for number in numbers.split(",")}
    assert [number for number in wanted if number not in found] == []
