"""``leaderboard build``, ``--check``, ``add`` and ``diff`` on invented runs."""

from __future__ import annotations

import base64
import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from prime_audit.boards.filed import parts, place
from prime_audit.errors import UserError
from prime_audit.record import Failure

from .commands import SEEDS, add, check, invoke
from .invented import METHODS, board_at, run_at, run_record


def rows(home: Path) -> list[dict[str, str]]:
    with (home / "toy" / "table.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


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
    assert {cell.strip() for line in lines for cell in line.split("|")[2:-1]} == {
        "n/a¹",
        "n/a²",
        "–",
        "not audited",
    }
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
        said = done.output + done.stderr + str(done.exception)
        assert done.exit_code != 0, path
        assert str(path) in said, (path, said)
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
    said = check(home).stderr
    assert "table.tex is missing" in said
    assert "notes.txt belongs to no leaderboard" in said
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
    assert invoke("leaderboard", "diff", str(home / "toy"), str(other)).output == "no result differs\n"
    shutil.rmtree(other / "records" / "prime")
    done = invoke("leaderboard", "diff", str(home / "toy"), str(other), "--json")
    assert done.exit_code == 1
    found = json.loads(done.output)
    assert {row["method"] for row in found} == {"prime"}
    assert len(found) == 2 * (2 + 2)
    assert all(row[str(other)] == "—" for row in found)


def test_an_unknown_board_and_an_empty_home(home: Path, tmp_path: Path) -> None:
    done = invoke("leaderboard", "build", "--board", "nope", "--home", str(home))
    assert "no leaderboard 'nope'" in str(done.exception)
    assert "has no leaderboard" in str(invoke("leaderboard", "build", "--home", str(tmp_path)).exception)


def test_a_folder_that_lost_its_board_file_fails_the_check(home: Path) -> None:
    shutil.copytree(home / "toy", home / "boy")
    (home / "boy" / "board.toml").unlink()
    said = check(home)
    assert said.exit_code == 1
    assert f"{home / 'boy' / 'board.toml'} is missing" in said.stderr


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


def test_a_board_without_records_has_nothing_to_check(tmp_path: Path) -> None:
    home = tmp_path / "leaderboards"
    board_at(home)
    done = check(home)
    assert done.exit_code == 0
    assert "toy: no records, so nothing to check" in done.output
    assert invoke("leaderboard", "build", "--home", str(home)).exit_code == 0
    assert (home / "toy" / "table.md").is_file()
    assert check(home).exit_code == 0
    (home / "toy" / "table.md").write_text("mine")
    assert "table.md differs" in check(home).stderr


def test_a_page_is_compared_by_its_data_and_not_by_how_they_were_compressed(home: Path) -> None:
    """Builds of zlib differ; a level that another build might have chosen stands for them."""
    path = home / "toy" / "index.html"
    html = path.read_text(encoding="utf-8")
    start, end = (html.index(mark, html.index('id="data">')) for mark in (">", "</script>"))
    said = zlib.decompress(base64.b64decode(html[start + 1 : end]))

    def check_with(data: bytes) -> Result:
        again = base64.b64encode(zlib.compress(data, 1)).decode()
        assert again != html[start + 1 : end]
        path.write_text(html[: start + 1] + again + html[end:], encoding="utf-8")
        return check(home)

    assert check_with(said).exit_code == 0
    assert "index.html differs" in check_with(said.replace(b"prime", b"crime", 1)).stderr
    path.write_text(html[: start + 1] + "AAAA" + html[end:], encoding="utf-8")
    assert "index.html differs" in check(home).stderr


def test_a_failure_affects_the_methods_that_are_built_on_it() -> None:
    labels = ("prime:alpha=0.6", "prime:alpha=0.6+rag", "prime:alpha=0.66", "prime", "rag")
    record = run_record(0, ("np", *labels))
    failures = tuple(
        Failure(task="LaMP-2", stage="personalise", method=method) for method in ("prime:alpha=0.6", "rag")
    )
    affected = {
        next(iter(p.methods)): [f.method for f in p.failures]
        for p in parts(replace(record, failures=failures))
    }
    core = ["prime:alpha=0.6"]
    assert affected == {
        "np": [],
        labels[0]: core,
        labels[1]: core,
        labels[2]: [],
        "prime": [],
        "rag": ["rag"],
    }


def test_a_new_board_builds_and_is_never_overwritten(tmp_path: Path) -> None:
    home = tmp_path / "boards"
    done = invoke("leaderboard", "new", "mine-1", "--home", str(home))
    assert done.exit_code == 0, done.output
    kept = (home / "mine-1" / "board.toml").read_bytes()
    built = invoke("leaderboard", "build", "--home", str(home))
    assert built.exit_code == 0, built.exception
    assert "prime-audit compare --methods np,rag,prime" in (home / "mine-1" / "table.md").read_text("utf-8")
    assert check(home).exit_code == 0
    for name in ("mine-1", "../mine", "a/b", "", ".", "/x", "x" * 300):
        assert isinstance(invoke("leaderboard", "new", name, "--home", str(home)).exception, UserError), name
    assert (home / "mine-1" / "board.toml").read_bytes() == kept
    assert [p.name for p in tmp_path.rglob("board.toml")] == ["board.toml"]
