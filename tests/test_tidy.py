"""The law of the repository that a linter can't hold. A fault names its file, and what to do."""

import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
GENERATED = "client/headrace/v1/"
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
CORE = "server/headrace_server/core/"

RPCS_NOT_YET: frozenset[str] = frozenset()
"""In the contract, and answered with NOT_SUPPORTED by the pipeline."""

DRAWERS = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc", "base"})
PROTO_SERVICES = frozenset(
    {f"{name}_service" for name in ("job", "queue", "worker", "admin", "schedule", "event", "session")}
)

FORBIDDEN = {
    rf"\b(?:{'TO' + 'DO'}|{'FIX' + 'ME'}|{'XX' + 'X'})\b": "do it, or write down where it belongs that it is missing",
    "/" + "home/": "a path of one machine",
    "/" + r"work/(?:main|shared|\.)": "a path of one machine",
    r"(?:pypi|npmjs|crates)\." + "(?:org|io|com)": "the address of a package registry",
    r"files\.pythonhosted\." + "org": "the address of a package registry",
    r"(?i)\b(?:" + "co-" + r"authored-by|generated (?:by|with) (?:claude|an? ai))\b": "who wrote it",
}


def tracked() -> list[str]:
    """Files that git knows or would take, so that the law holds before a commit too."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    return sorted(name for name in listed if name and (ROOT / name).is_file())


FILES = tracked()
SOURCES = [name for name in FILES if name.endswith(".py") and not name.startswith(GENERATED)]
TEXTS = [
    name
    for name in FILES
    if not name.startswith(GENERATED)
    and (name.endswith((".py", ".proto", ".md", ".toml", ".yaml", ".sql")) or name.startswith(("scripts/", ".ci/")))
]
PROGRAMS = [name for name in FILES if name.startswith(("scripts/", ".ci/")) and not name.endswith(".py")]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def parsed(name: str) -> ast.Module:
    return ast.parse(read(name), name)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_files_are_short() -> None:
    long = {name: lines for name in SOURCES if (lines := read(name).count("\n")) > FILE_LINES_MAX}
    assert long == {}, f"more than {FILE_LINES_MAX} lines: split by what it owns"


def test_functions_are_short() -> None:
    long = {
        f"{name}:{function.lineno} {function.name}": lines
        for name in SOURCES
        for function in functions(parsed(name))
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert long == {}, f"more than {FUNCTION_LINES_MAX} lines: give its parts names"


def test_every_module_says_what_it_owns() -> None:
    silent = [name for name in SOURCES if read(name).strip() and not ast.get_docstring(parsed(name))]
    assert silent == []


def test_no_module_is_a_drawer() -> None:
    parts = {name: set(Path(name).with_suffix("").parts) for name in SOURCES}
    drawers = {name: found for name, words in parts.items() if (found := words & DRAWERS)}
    services = [
        name for name in SOURCES if (stem := Path(name).stem).endswith("_service") and stem not in PROTO_SERVICES
    ]
    assert drawers == {}
    assert services == []


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_core_imports_the_standard_library_only() -> None:
    allowed = sys.stdlib_module_names | {"headrace_server", "cronsim"}
    foreign = {
        f"{name}: {module}"
        for name in SOURCES
        if name.startswith(CORE)
        for module in imported(parsed(name))
        if module.split(".")[0] not in allowed or (module.startswith("headrace_server") and ".core" not in module)
    }
    assert foreign == set()


def test_core_has_neither_clock_nor_input_nor_chance() -> None:
    banned = {"asyncio", "os", "random", "secrets", "socket", "subprocess", "threading", "time"}
    found = {
        f"{name}: {module}"
        for name in SOURCES
        if name.startswith(CORE)
        for module in imported(parsed(name))
        if module.split(".")[0] in banned
    }
    assert found == set()


def sleeps(tree: ast.Module) -> Iterator[int]:
    """Lines of calls of `sleep` outside of a `while`, which waits for a condition; zero only gives others a turn."""
    polls = {inner for node in ast.walk(tree) if isinstance(node, ast.While) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if node in polls:
            continue
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        is_zero = isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
        if name == "sleep" and not is_zero:
            yield node.lineno


def test_tests_do_not_sleep() -> None:
    names = [
        name for name in SOURCES if name.startswith("tests/") and Path(name).name.startswith(("test_", "conftest"))
    ]
    assert [f"{name}:{line}" for name in names for line in sleeps(parsed(name))] == [], "wait for a condition instead"


def test_no_forbidden_words() -> None:
    found = [
        f"{name}:{number}: {why}"
        for name in TEXTS
        for number, line in enumerate(read(name).splitlines(), 1)
        for expression, why in FORBIDDEN.items()
        if re.search(expression, line)
    ]
    assert found == []


def test_no_trailing_whitespace_and_one_newline_at_the_end() -> None:
    trailing = [
        f"{name}:{number}"
        for name in TEXTS
        for number, line in enumerate(read(name).split("\n"), 1)
        if line != line.rstrip()
    ]
    endings = [name for name in TEXTS if (text := read(name)) and (not text.endswith("\n") or text.endswith("\n\n"))]
    assert trailing == []
    assert endings == []


def test_suppressions_have_reasons() -> None:
    bare = [
        f"{name}:{number}"
        for name in SOURCES
        for number, line in enumerate(read(name).splitlines(), 1)
        if re.search(r"#\s*(?:type: ignore|noqa)(?:\[[^]]*\]|: ?[A-Z0-9, ]+)?\s*$", line)
    ]
    assert bare == [], "say why, after two more spaces and a #"


def test_programs_are_executable_and_strict() -> None:
    sourced = {"scripts/environment"}
    not_executable = [name for name in PROGRAMS if name not in sourced and not os.access(ROOT / name, os.X_OK)]
    lax = [name for name in PROGRAMS if "bash" in read(name).split("\n")[0] and "set -euo pipefail" not in read(name)]
    assert not_executable == []
    assert lax == []


RPC = re.compile(r"((?:^ *//[^\n]*\n)+)^ *rpc (\w+)\(", re.MULTILINE)
SERVICE = re.compile(r"^service (\w+) \{(.*?)^\}", re.MULTILINE | re.DOTALL)
STATUS = re.compile(
    r"\b(?:INVALID_ARGUMENT|NOT_FOUND|ALREADY_EXISTS|FAILED_PRECONDITION|ABORTED|OUT_OF_RANGE|UNIMPLEMENTED"
    r"|RESOURCE_EXHAUSTED|UNAVAILABLE|PERMISSION_DENIED|UNAUTHENTICATED)\b"
)


def contract() -> dict[str, str]:
    """Comment of each rpc, by `Service.Rpc`."""
    return {
        f"{service}.{rpc}": comment
        for name in FILES
        if name.startswith("proto/")
        for service, body in SERVICE.findall(read(name))
        for comment, rpc in RPC.findall(body)
    }


def test_every_rpc_states_its_statuses() -> None:
    assert len(contract()) >= len(RPCS_NOT_YET)
    assert [rpc for rpc, comment in contract().items() if not STATUS.search(comment)] == []


def servicer_methods(service: str) -> set[str]:
    """Coroutines of the classes in `rpc/<service>.py`."""
    path = f"server/headrace_server/rpc/{snake_case(service)}.py"
    if path not in SOURCES:
        pytest.skip(f"{path} is not there")
    classes = [node for node in parsed(path).body if isinstance(node, ast.ClassDef)]
    return {method.name for node in classes for method in node.body if isinstance(method, ast.AsyncFunctionDef)}


def snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize(
    "service",
    [
        "JobService",
        "QueueService",
        "ScheduleService",
        "WorkerService",
        "AdminService",
        "EventService",
        "SessionService",
    ],
)
def test_every_rpc_is_served_or_listed_as_not_yet(service: str) -> None:
    served = servicer_methods(service)
    missing = {
        rpc for rpc in contract() if rpc.startswith(f"{service}.") and snake_case(rpc.split(".")[1]) not in served
    }
    assert missing == {rpc for rpc in RPCS_NOT_YET if rpc.startswith(f"{service}.")}


def test_rpcs_that_are_not_yet_there_are_in_the_contract() -> None:
    assert set(contract()) >= RPCS_NOT_YET


README = read("README.md")


def needs_readme() -> None:
    if README.count("\n") < 20:
        pytest.skip("README.md has no content yet")


def test_paths_that_the_readme_names_exist() -> None:
    needs_readme()
    named = set(re.findall(r"(?<![\w/.-])((?:scripts|\.ci|docs|proto|tests)/[\w./-]*\w)", README))
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
    programs = [path for path in named if path.startswith(("scripts/", ".ci/"))]
    assert programs, "the two commands, scripts/check and scripts/test"
    assert [path for path in programs if not os.access(ROOT / path, os.X_OK)] == []


def documents() -> str:
    return "\n".join(read(name) for name in FILES if name.endswith(".md"))


@pytest.mark.parametrize("module", ["headrace_server.settings", "headrace_worker.settings"])
def test_every_setting_is_documented(module: str) -> None:
    needs_readme()
    path = f"server/{module.replace('.', '/')}.py"
    if path not in SOURCES:
        pytest.skip(f"{path} is not there")
    settings: list[Any] = [
        value
        for value in vars(importlib.import_module(module)).values()
        if isinstance(value, type) and value.__module__ == module and hasattr(value, "model_fields")
    ]
    text = documents()
    variables = [
        f"{value.model_config.get('env_prefix', '')}{field}".upper()
        for value in settings
        if "env_prefix" in value.model_config
        for field in value.model_fields
    ]
    assert [variable for variable in variables if variable not in text] == []


def command_names() -> list[str]:
    """Every command of `headrace`, e.g. `queue create`."""
    typer = pytest.importorskip("typer.main")
    app = importlib.import_module("headrace.cli.app")
    return list(leaves(typer.get_command(app.app)))


def leaves(command: object, prefix: str = "") -> Iterator[str]:
    below = getattr(command, "commands", None)
    if below is None:
        yield prefix.strip()
        return
    for name, inner in below.items():
        if not inner.hidden:
            yield from leaves(inner, f"{prefix} {name}")


def test_every_command_is_documented() -> None:
    needs_readme()
    text = documents()
    assert [name for name in command_names() if f"headrace {name}" not in text] == []


def test_commands_that_the_readme_shows_exist() -> None:
    needs_readme()
    commands = command_names()
    shown = re.findall(r"^\$? ?headrace ((?:[a-z][a-z-]* ?){1,3})", README, re.MULTILINE)
    unknown = [words for words in shown if not any(f"{words.strip()} ".startswith(f"{name} ") for name in commands)]
    assert unknown == []
