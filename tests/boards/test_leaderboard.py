"""``leaderboard build``, ``--check``, ``add`` and ``diff`` on invented runs."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from prime_audit.boards.filed import dumped, parts, place
from prime_audit.commands.cli import cli
from prime_audit.errors import UserError
from prime_audit.record import Record

from .invented import BOARD, METHODS, board_at, run_at, run_record

SEEDS = (0, 1)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Make a board with two seeds filed, and build it."""
    home = tmp_path / "leaderboards"
    board_at(home)
    for seed in SEEDS:
        assert add(home, run_at(tmp_path / f"run{seed}", run_record(seed))).exit_code == 0
    return home


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, words, catch_exceptions=True)


def add(home: Path, run: Path, *more: str) -> Result:
    return invoke("leaderboard", "add", str(run), "--board", "toy", "--home", str(home), *more)


def check(home: Path) -> Result:
    return invoke("leaderboard", "build", "--check", "--home", str(home))


def rows(home: Path) -> list[dict[str, str]]:
    with (home / "toy" / "table.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def refused(home: Path, tmp_path: Path, record: Record) -> str:
    """File a record that must be refused; nothing may be left of it."""
    before = sorted(home.rglob("*"))
    done = add(home, run_at(tmp_path / "refused", record))
    assert isinstance(done.exception, UserError), done.output
    assert sorted(home.rglob("*")) == before
    message = str(done.exception)
    assert "\n" not in message
    return message


def test_a_figure_is_the_mean_over_seeds_and_names_its_records(home: Path) -> None:
    by_key = {(r["task"], r["method"], r["metric"], r["game"]): r for r in rows(home)}
    for (task, method, metric, game), row in by_key.items():
        seen = [
            r.value
            for seed in SEEDS
            for r in run_record(seed).results
            if (r.task, r.method, r.metric, r.game or "") == (task, method, metric, game)
        ]
        if method in METHODS and None not in seen:
            assert float(row["value"]) == pytest.approx(math.fsum(seen) / len(seen))  # type: ignore[arg-type]
            assert len(row["records"].split()) == len(SEEDS)
            for run_id in row["records"].split():
                assert list((home / "toy" / "records").glob(f"*/{run_id}.json"))
        else:
            assert row["value"] == ""
            assert row["reason"]


def test_a_required_row_without_a_run_has_its_reason(home: Path) -> None:
    text = (home / "toy" / "table.md").read_text(encoding="utf-8")
    section = text.split("## LaMP-2")[1].split("## LaMP-3")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `oppu`")]
    assert len(lines) == 2  # utility, and the leakage of one game and attack
    assert {cell.strip() for line in lines for cell in line.split("|")[2:-1]} == {"n/a¹", "n/a²", "–"}
    assert section.count("no run filed") == 2
    assert "<b>" not in text.replace("Invented <b>figures</b>.", "")


def test_a_method_with_too_few_seeds_has_no_figure(home: Path, tmp_path: Path) -> None:
    add(home, run_at(tmp_path / "rag", run_record(0, ("np", "rag"))), "--method", "rag")
    found = [r for r in rows(home) if r["method"] == "rag" and not r["game"]]
    assert {r["reason"] for r in found} == {"seed 1 not filed"}
    assert {r["value"] for r in found} == {""}


def test_places_are_shared_where_intervals_overlap(home: Path) -> None:
    """Recount every place from the table itself."""
    columns: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows(home):
        if row["value"] and not row["game"]:
            columns.setdefault((row["task"], row["metric"]), []).append(row)
    for (task, _), column in columns.items():
        sign = -1 if task == "LaMP-3" else 1
        for row in column:
            own = sorted(sign * float(row[x]) for x in ("lo", "hi"))
            others = [sorted(sign * float(o[x]) for x in ("lo", "hi")) for o in column if o is not row]
            assert int(row["best_place"]) == 1 + sum(o[0] > own[1] for o in others)
            assert int(row["worst_place"]) == 1 + len(others) - sum(o[1] < own[0] for o in others)


def test_check_is_clean_and_writes_nothing(home: Path) -> None:
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in home.rglob("*") if p.is_file()}
    done = check(home)
    assert done.exit_code == 0, done.output
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in home.rglob("*") if p.is_file()} == before


def test_one_changed_digit_anywhere_fails_the_check_and_names_the_file(home: Path) -> None:
    files = sorted(p for p in home.rglob("*") if p.is_file())
    assert len(files) == 1 + 8 + len(METHODS) * len(SEEDS)
    for path in files:
        kept = path.read_bytes()
        spot = _some_digit(path, kept)
        changed = b"%d" % ((int(kept[spot : spot + 1]) + 1) % 10)
        path.write_bytes(kept[:spot] + changed + kept[spot + 1 :])
        done = check(home)
        told = done.output + done.stderr + str(done.exception)
        assert done.exit_code != 0, path
        assert str(path) in told, (path, told)
        path.write_bytes(kept)
    assert check(home).exit_code == 0


def _some_digit(path: Path, content: bytes) -> int:
    """Find a digit: of a figure where there are figures."""
    found = (
        re.search(rb"0\.\d*(\d)", content)
        if path.suffix != ".toml"
        else re.search(rb"seeds = \[(\d)", content)
    )
    found = found or re.search(rb"(\d)", content)
    assert found
    return found.start(1)


def test_a_missing_or_a_stray_file_fails_the_check(home: Path) -> None:
    (home / "toy" / "table.tex").unlink()
    (home / "toy" / "notes.txt").write_text("mine")
    told = check(home).stderr
    assert "table.tex is missing" in told
    assert "notes.txt belongs to no leaderboard" in told
    (home / "toy" / "records" / "prime" / "stray.json").write_text("{}")
    assert "stray.json" in str(check(home).exception)


@pytest.mark.slow
def test_the_same_bytes_under_another_hash_seed_locale_and_time_zone(home: Path) -> None:
    generated = {
        p.name: p.read_bytes() for p in (home / "toy").iterdir() if p.is_file() and p.name != "board.toml"
    }
    for number, locale in ((1, "C"), (4242, "tr_TR.UTF-8")):
        for name in generated:
            (home / "toy" / name).unlink()
        surroundings = {
            "PYTHONHASHSEED": str(number),
            "LC_ALL": locale,
            "LANG": locale,
            "TZ": "Asia/Kathmandu",
        }
        command = [sys.executable, "-m", "prime_audit", "leaderboard", "build", "--home", str(home)]
        subprocess.run(command, check=True, env=os.environ | surroundings, capture_output=True)
        assert {name: (home / "toy" / name).read_bytes() for name in generated} == generated


def test_no_command_of_the_boards_needs_torch(home: Path) -> None:
    code = (
        "import sys; from prime_audit.commands.cli import cli; "
        f"cli(['leaderboard', 'build', '--check', '--home', {str(home)!r}], standalone_mode=False); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_filing_again_changes_nothing(home: Path, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in home.rglob("*") if p.is_file()}
    again = replace(run_record(0), times=replace(run_record(0).times, started="later"))
    assert "filed already" in add(home, run_at(tmp_path / "again", again)).output
    assert {p: p.read_bytes() for p in home.rglob("*") if p.is_file()} == before


def _first(record: Record, **changes: Any) -> Record:
    results = (replace(record.results[0], **changes), *record.results[1:])
    return replace(record, results=results)


def _data(record: Record, **changes: Any) -> Record:
    return replace(record, data=tuple(replace(d, **changes) for d in record.data))


def _tpr(record: Record) -> Record:
    return replace(record, leaks=tuple(replace(x, tpr={"0.001": 0.1}) for x in record.leaks))


FRESH = 7
"""A seed that is not filed yet."""
REFUSALS: dict[str, tuple[Callable[[], Record], str]] = {
    "dirty": (
        lambda: run_record(FRESH, code=run_record(0).code | {"dirty": True}),
        "a dirty run: files that decide numbers differed from the commit",
    ),
    "of unknown code": (lambda: run_record(FRESH, code={}), "tells no version of the code"),
    "limited": (
        lambda: run_record(FRESH, spec=run_record(FRESH).spec | {"preset": "paper"}),
        'a limited run: preset is "paper", the board\'s is "laptop"',
    ),
    "limited by a setting": (
        lambda: run_record(FRESH, spec=_with_setting("last_items", 2)),
        "a limited run: LaMP-2.last_items is 2, the board's 12",
    ),
    "another override": (
        lambda: run_record(
            FRESH, spec=run_record(FRESH).spec | {"overrides": {"targets": 4, "prime.alpha": 9}}
        ),
        "a limited run: --set prime.alpha",
    ),
    "without a game": (
        lambda: run_record(FRESH, spec=run_record(FRESH).spec | {"games": []}),
        "lacks games paper",
    ),
    "stale": (
        lambda: run_record(
            FRESH,
            plugins=run_record(0).plugins
            | {"method prime": {"version": 0, "origin": "prime_audit.prime.prime"}},
        ),
        "method prime has version 0, now it is 1: a stale run",
    ),
    "backwards": (lambda: _first(run_record(FRESH), higher_is_better=False), "higher_is_better is false"),
    "too fine": (
        lambda: _tpr(run_record(FRESH)),
        "TPR at FPR 0.001 is finer than 90 non-members a target carry",
    ),
    "of a seed that is not the board's": (lambda: run_record(FRESH), "seed 7 is none of those in"),
    "with a figure twice": (
        lambda: replace(run_record(FRESH), results=run_record(FRESH).results * 2),
        "tells a figure twice",
    ),
    "with figures of no data": (
        lambda: replace(run_record(FRESH), data=run_record(FRESH).data[:1]),
        "on LaMP-3, which is not its method and data",
    ),
    "without its plugins": (lambda: run_record(FRESH, plugins={}), "tells no version of method np"),
    "without a seed": (lambda: run_record(FRESH, seeds={}), "tells no seed"),
    "of a checkout that git says nothing of": (
        lambda: run_record(FRESH, code=run_record(0).code | {"dirty": None}),
        "a dirty run",
    ),
    "attacked again": (
        lambda: run_record(FRESH, spec=run_record(FRESH).spec | {"attacked": "run"}),
        "attacks on an earlier run",
    ),
}


def _with_setting(key: str, value: Any) -> dict[str, Any]:
    spec = run_record(FRESH).spec
    return {**spec, "settings": {task: {**own, key: value} for task, own in spec["settings"].items()}}


@pytest.mark.parametrize("what", REFUSALS)
def test_refused(home: Path, tmp_path: Path, what: str) -> None:
    make, message = REFUSALS[what]
    assert message in refused(home, tmp_path, make())


def test_refused_where_the_split_disagrees(home: Path, tmp_path: Path) -> None:
    """Another method, the same seed, other people."""
    told = refused(home, tmp_path, _data(run_record(0, ("np", "rag")), split_sha256="d" * 64))
    assert re.search(r"split hash d{64} differs from \w{64} of records/\S+\.json", told), told


def test_refused_where_the_questions_are_not_as_many(home: Path, tmp_path: Path) -> None:
    record = run_record(0, ("np", "rag"))
    other = replace(record, results=tuple(replace(r, n=r.n + 1) if not r.game else r for r in record.results))
    told = refused(home, tmp_path, replace(other, spec={**other.spec, "note": "another id"}))
    assert "questions (37,) differs from (36,)" in told


def test_refused_where_other_figures_are_filed_of_the_same_specification(home: Path, tmp_path: Path) -> None:
    told = refused(home, tmp_path, _first(run_record(0), value=0.123))
    assert "holds other figures of the same specification" in told


def test_refused_where_a_method_and_seed_are_filed_twice(home: Path, tmp_path: Path) -> None:
    record = run_record(0)
    told = refused(home, tmp_path, replace(record, model=replace(record.model, sha256="f" * 64)))
    assert f'model "{"f" * 64}" differs from' in told
    other = {**record.spec, "note": "the same, typed otherwise"}
    told = refused(home, tmp_path / "again", replace(record, spec=other))
    assert "with seed 0 is filed already" in told


def test_a_nan_is_refused_in_memory_and_in_a_file(home: Path) -> None:
    (folder,) = (home / "toy" / "records").glob("prime")
    path = sorted(folder.glob("*.json"))[0]
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r'"value":0\.\d+', '"value":NaN', text, count=1), encoding="utf-8")
    told = str(check(home).exception)
    assert str(path) in told
    assert "NaN is not JSON" in told
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumped(_first(run_record(0), value=math.nan))


def test_a_record_that_was_changed_no_longer_lies_in_its_place(home: Path) -> None:
    path = sorted((home / "toy" / "records" / "prime").glob("*.json"))[0]
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"LaMP-2"', '"LaMP-4"'), encoding="utf-8")
    assert "was changed, or is misplaced" in str(check(home).exception)


def test_a_label_never_becomes_a_path() -> None:
    """Two labels have two folders, and none leads elsewhere."""
    labels = [
        "../../etc",
        "a/b",
        "a_b",
        "prime",
        "prime:alpha=0.6+rag",
        "x" * 500,
        "..",
        "",
        "é",
        "a\x00b",
        "-rf",
    ]
    record = run_record(0)
    folders = []
    for label in labels:
        where = place(replace(next(iter(parts(record))), methods={label: {}}))
        assert where.parts[0] == "records"
        assert len(where.parts) == 3
        assert re.fullmatch(r"[A-Za-z0-9=,][A-Za-z0-9=,._-]*", where.parts[1]), where
        folders.append(where.parts[1])
    assert len({f.lower() for f in folders}) == len(labels)


def test_a_filed_record_is_the_published_schema(home: Path) -> None:
    import jsonschema

    import prime_audit

    schema = json.loads(
        Path(prime_audit.__file__).with_name("record.schema.json").read_text(encoding="utf-8")
    )
    for path in (home / "toy" / "records").glob("*/*.json"):
        jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), schema)


def test_diff_shows_each_figure_that_differs(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "toy"
    shutil.copytree(home / "toy", other)
    assert invoke("leaderboard", "diff", str(home / "toy"), str(other)).output == "no figure differs\n"
    shutil.rmtree(other / "records" / "prime")
    done = invoke("leaderboard", "diff", str(home / "toy"), str(other), "--json")
    assert done.exit_code == 1
    found = json.loads(done.output)
    assert {row["method"] for row in found} == {"prime"}
    assert len(found) == 2 * (2 + 2)
    assert all(row[str(other)] == "—" for row in found)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "toy"', 'name = "boy"', "name is 'boy', its folder's is 'toy'"),
        ('"LaMP-2"', '"LaMP-9"', "unknown task 'LaMP-9'"),
        ('"higher"', '"up"', "unknown direction 'up'"),
        ("seeds = [0, 1]", 'seeds = "two"', "seeds is no list"),
        ("seeds = [0, 1]", "seeds = []", "seeds is no list of whole numbers"),
        ("seeds = [0, 1]", "seeds = [0, 1, 0]", "seeds names '0' more than once"),
        ('tasks = ["LaMP-2"', 'tasks = ["LaMP-2", "LaMP-2"', "tasks names 'LaMP-2' more than once"),
        ('tasks = ["LaMP-2"', "tasks = [1", "tasks holds what is no text"),
        ('preset = "laptop"', "preset = 3", "unknown preset"),
        ("seeds = [0, 1]", "sedes = 2", "unknown entry 'sedes': did you mean seeds"),
        ("seeds = [0, 1]", "seeds =", "is no TOML"),
        ('title = "A toy board"', "", "lacks title"),
    ],
)
def test_a_board_file_that_says_what_it_cannot_mean(home: Path, old: str, new: str, message: str) -> None:
    board_at(home, BOARD.replace(old, new, 1))
    told = str(check(home).exception)
    assert message in told
    assert str(home / "toy" / "board.toml") in told


def test_an_unknown_board_and_an_empty_home(home: Path, tmp_path: Path) -> None:
    done = invoke("leaderboard", "build", "--board", "nope", "--home", str(home))
    assert "no leaderboard 'nope'" in str(done.exception)
    assert "holds no leaderboard" in str(invoke("leaderboard", "build", "--home", str(tmp_path)).exception)


def test_a_folder_that_lost_its_board_file_fails_the_check(home: Path) -> None:
    shutil.copytree(home / "toy", home / "boy")
    (home / "boy" / "board.toml").unlink()
    told = check(home)
    assert told.exit_code == 1
    assert f"{home / 'boy' / 'board.toml'} is missing" in told.stderr


def test_nothing_in_a_record_becomes_markup_or_names_a_folder_of_the_filer(
    home: Path, tmp_path: Path
) -> None:
    evil = "<img src=x onerror=alert(1)>\n\n# owned [x](javascript:alert(1))"
    record = run_record(
        0, ("np", "rag"), warnings=(evil,), command="prime-audit compare --plugin /home/alice/p.py"
    )
    assert add(home, run_at(tmp_path / "evil", record), "--method", "rag").exit_code == 0
    text = (home / "toy" / "table.md").read_text(encoding="utf-8")
    assert "<img" not in text
    assert "\n# owned" not in text
    assert "/home/alice" not in "".join(p.read_text(encoding="utf-8") for p in home.rglob("*.json"))


def test_a_third_party_s_method_appears(home: Path, tmp_path: Path) -> None:
    """Its plugin is one file that only its author has."""
    head = "from prime_audit.plugins import method"
    source = f"{head}\n\n\n@method(source='mine')\ndef personalise(scene):\n    return {{}}\n"
    plugin = tmp_path / "theirs.py"
    plugin.write_text(source, encoding="utf-8")
    for seed in SEEDS:
        record = run_record(seed, ("np", "theirs"), plugins_given=(plugin,))
        assert add(home, run_at(tmp_path / f"theirs{seed}", record), "--method", "theirs").exit_code == 0
    plugin.unlink()
    assert check(home).exit_code == 0
    found = [r for r in rows(home) if r["method"] == "theirs" and not r["game"]]
    assert len(found) == 4
    assert all(r["value"] and len(r["records"].split()) == 2 for r in found)
