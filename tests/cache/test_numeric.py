"""Cache keys depend on the code and the libraries that decide numbers, and on nothing else."""

from __future__ import annotations

import re
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

import prime_audit
from prime_audit.cache import numeric
from prime_audit.cache.numeric import LIBRARIES, PARTS, versions

PACKAGE = Path(prime_audit.__file__).parent
code_sha256 = numeric.code_sha256.__wrapped__
EVERY = [(part, file) for part, own in PARTS.items() for file in own.files]


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the package's source files, which keys are computed from."""
    for path in (*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.toml")):
        copy = tmp_path / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    monkeypatch.setattr(numeric, "_PACKAGE", tmp_path)
    return tmp_path


def keys() -> dict[str, str]:
    return {part: code_sha256(part) for part in PARTS}


@pytest.mark.parametrize(("part", "file"), [(part, file) for part, file in EVERY if file.endswith(".py")])
def test_code_of_a_listed_file_changes_the_key_and_prose_does_not(
    sources: Path, part: str, file: str
) -> None:
    before, path = code_sha256(part), sources / file
    text = path.read_text()
    path.write_text(f'"""Another docstring."""\n# a comment\n\n{text}\n\ndef more():\n    """Text."""\n')
    added = code_sha256(part)
    reworded = re.sub(r'(?m)^( *""")(\w)', r"\1Reworded. \2", text)
    assert reworded != text
    path.write_text(f"{reworded}\n\n# a comment\n")
    assert code_sha256(part) == before != added


def test_a_value_of_a_listed_table_changes_the_key_and_a_comment_does_not(sources: Path) -> None:
    before, path = code_sha256("search"), sources / "lamp/tasks.toml"
    path.write_text(f"# a comment\n{path.read_text()}")
    assert code_sha256("search") == before
    replaced(path, 'labels = ["[1]", "[2]"]', 'labels = ["[1]", "[3]"]')
    assert code_sha256("search") != before


def test_every_module_of_the_engine_is_listed_or_decides_no_cached_number() -> None:
    listed = {Path(file).stem for _, file in EVERY if file.startswith("engine/")}
    # Files, names, errors and objects that only carry work: what they load or save is in the key by content.
    others = {"__init__", "adapters", "finite", "hub", "merge", "native", "passes", "size", "unify"}
    assert listed | others == {path.stem for path in (PACKAGE / "engine").glob("*.py")}
    assert not listed & others


def replaced(path: Path, old: str, new: str) -> None:
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("shape", "FEW = 25", "FEW = 26"),
        ("memory", "size = len(part) * max(", "size = len(part) * min("),
        ("memory", '"read": Shape', '"reads": Shape'),
        ("memory", "if len(part) == 1:", "if len(part) == 2:"),  # whether an error is raised
        ("rules", 'name = "factor"', 'name = "factors"'),
        ("rules", "math.sqrt(scaling)", "scaling"),
        ("checkpoint", '"bfloat16": torch.bfloat16', '"bfloat16": torch.float16'),
    ],
)
def test_every_number_and_key_in_the_code_counts(sources: Path, file: str, old: str, new: str) -> None:
    before = code_sha256("engine")
    replaced(sources / f"engine/{file}.py", old, new)
    assert code_sha256("engine") != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("memory", 'f"out of memory: {self.what} does not', 'f"no memory is left: {self.what!r} does not'),
        ("base", "do not fit the base's Linear layer", "is of another shape"),
        ("rules", "sum of updates, ΔW = Σ w B A", "the weighted updates' sum"),
        ("rules", "the paper's released code", "its code"),
        ("mixture", "has no continuation to score", "names no continuation"),
    ],
)
def test_rewording_an_error_or_a_rules_summary_changes_no_key(
    sources: Path, file: str, old: str, new: str
) -> None:
    before = keys()
    replaced(sources / f"engine/{file}.py", old, new)
    assert keys() == before


def test_files_that_are_not_listed_change_no_key(sources: Path) -> None:
    before, listed = keys(), {file for _, file in EVERY}
    others = [p for p in sources.rglob("*.py") if p.relative_to(sources).as_posix() not in listed]
    assert len(others) > 50
    for path in others:
        path.write_text(path.read_text() + "\nmore = 1\n")
    assert keys() == before


def test_a_librarys_version_changes_the_keys_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys()
    for name in LIBRARIES:
        monkeypatch.setattr(numeric, "version", lambda n, name=name: "0" if n == name else version(n))
        changed = {part for part, key in keys().items() if key != before[part]}
        assert changed == {part for part, own in PARTS.items() if name in own.libraries}


def test_one_list_holds_every_library_and_records_its_version() -> None:
    assert {name for own in PARTS.values() for name in own.libraries} <= set(LIBRARIES)
    assert versions() == {name: version(name) for name in LIBRARIES}
