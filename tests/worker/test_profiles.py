"""Environment profiles: what a file gives, that others may not read it, and that every fault is told at once."""

from pathlib import Path

import pytest

from headrace_worker.profiles import ProfilesUnusable, read_profiles
from headrace_worker.redaction import Redaction


def private(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_x8_a_profile_has_the_variables_of_its_file(tmp_path: Path) -> None:
    private(tmp_path / "key", "sk-secret\n")
    file = private(tmp_path / "team.env", "# ours\n\nANTHROPIC_API_KEY=@key\nANTHROPIC_BASE_URL=http://a/b=c\n")
    assert read_profiles({"team": file}) == {
        "team": {"ANTHROPIC_API_KEY": "sk-secret", "ANTHROPIC_BASE_URL": "http://a/b=c"}
    }


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    open_file = private(tmp_path / "open", "A=b", 0o640)
    bad = private(tmp_path / "bad", "no equals\nPATH=/x\nLD_PRELOAD=/x\nKEY=@missing\n1A=b\n")
    with pytest.raises(ProfilesUnusable) as unusable:
        read_profiles({"open": open_file, "Bad Name": bad, "gone": tmp_path / "gone"})
    told = "\n".join(unusable.value.faults)
    for part in ("chmod 600", "'Bad Name'", "bad:1", "PATH is", "LD_PRELOAD is", "missing", "bad:5", "gone"):
        assert part in told
    assert len(unusable.value.faults) == 8


def test_x8_secrets_are_blotted_out_plain_and_inside_json() -> None:
    redaction = Redaction(['pass"word1', 'longer-pass"word1', "short"])
    assert redaction.clean(b'a pass"word1 b pass\\"word1 c') == b"a [redacted] b [redacted] c"
    assert redaction.clean_cut('longer-pass"word1') == "[redacted]"
    assert redaction.clean(b"short stays") == b"short stays"


def test_without_secrets_bytes_stay_as_they_are() -> None:
    data = bytes(range(256))
    assert Redaction([]).clean(data) is data
    assert Redaction(["", "short"]).clean_cut("x") == "x"
