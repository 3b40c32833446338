"""A game in one file of somebody else's: listed, checked, played, judged, stored, rescored and shown."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from prime_audit import Run, compare, load_run
from prime_audit.authoring.doctor import examine
from prime_audit.errors import UserError
from prime_audit.games.exam.examine import grouped
from prime_audit.games.exam.stored import read_exam
from prime_audit.plugins.loading import load_game
from prime_audit.report.games import GameNote, note_of
from prime_audit.report.page_data import plain
from prime_audit.runs.rescore import attack

HALVES = '''"""Merged sharers' trained items, one half against the other by a fair draw: nothing to find."""
import numpy as np
from prime_audit.audit.design import Dealt
from prime_audit.plugins import game
from prime_audit.seeds import rng_of


@game(source="a test", says="Halves were drawn: a finding is false.", unit="item-within-sharer", randomised=True)
def halves(audited, pool):
    """Members: half of each merged sharer's trained items, drawn at random; non-members: the other half."""
    if not audited.merged:
        return Dealt.nothing(audited.target, "merges nobody: no members")
    rows = np.flatnonzero(pool.last & pool.trained & pool.of(audited.merged))
    members = np.zeros(rows.size, dtype=bool)
    owners = np.array([pool.owners[row] for row in rows])
    for owner in dict.fromkeys(owners.tolist()):
        own = rng_of(0, "halves", owner).permutation(np.flatnonzero(owners == owner))
        members[own[: own.size // 2]] = True
    return pool.deal(audited.target, rows, members)
'''
"""The same draw for every target: an honest null."""
ALONE = '''"""One sharer's adapter alone, whatever the method: trained items against held-out ones."""
import numpy as np
from prime_audit.audit.design import Dealt
from prime_audit.community.sharers import bank_name
from prime_audit.engine.mixture import alone as only
from prime_audit.games.exam.queries import Queries
from prime_audit.plugins import Personal, game


class Adapters(Queries):
    """The adapter of the sharer most similar to each target, alone, queried with the sharers' items."""

    name = "adapters"
    stage = "signals (adapters)"

    def ask(self, community, spec, models):
        community.ready()
        near = {target: community.nearest(target, 1)[0] for target in models}
        return self.see(spec, {t: Personal(only(bank_name(s)), (s,)) for t, s in near.items()})


@game(source="a test", says="Members were drawn.", unit="item-within-sharer", randomised=True, queries=Adapters)
def alone(audited, pool):
    """Members: the sharer's trained items, drawn at random; non-members: as many held out."""
    rows = np.flatnonzero(pool.drawn & pool.of(audited.merged))
    return pool.deal(audited.target, rows, pool.trained[rows])
'''


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / f"{name}.py"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def played(
    tmp_path_factory: pytest.TempPathFactory, small_data: Callable[[str], Path], small: Sequence[str]
) -> tuple[Run, list[Path]]:
    """Play both games beside one of the box."""
    folder = tmp_path_factory.mktemp("games")
    files = [write(folder, "halves", HALVES), write(folder, "alone", ALONE)]
    run = compare(
        "prime",
        tasks="LaMP-4",
        games="heldout,halves,alone",
        attacks="loss",
        data=str(small_data("LaMP-4")),
        overrides=[*small, "heldout=0.4"],
        plugins=files,
        out=folder / "run",
        cache=None,
        quiet=True,
    )
    return run, files


def test_it_is_listed_described_and_well(tmp_path: Path, say: Callable[..., Any]) -> None:
    file = write(tmp_path, "halves", HALVES)
    listed = json.loads(say("list", "games", "--plugin", file, "--json").out)
    (own,) = [row for row in listed if row["game"] == "halves"]
    assert (own["from"], own["version"]) == (str(file), 1)
    assert own["what"] == HALVES.splitlines()[0].strip('"')
    told = say("describe", "halves", "--plugin", file).out
    for part in (
        "who: Members: half of each merged sharer's trained items",
        "queried: Targets' models as deployed",
        "drawn: membership was drawn at random",
        "verdict: Halves were drawn",
        "source: a test",
    ):
        assert part in told
    assert [check.line() for check in examine("halves", [file]) if not check.ok] == []


def test_it_is_played_and_judged_beside_the_others(played: tuple[Run, list[Path]]) -> None:
    run, _ = played
    rows = [s for s in run.scores() if s["game"] == "halves"]
    assert {s["method"] for s in rows} == {"prime"}
    by_target = [[s for s in rows if s["target"] == t] for t in dict.fromkeys(s["target"] for s in rows)]
    aucs = [roc_auc_score([s["member"] for s in own], [s["score"] for s in own]) for own in by_target]
    (leak,) = [x for x in run.record.leaks if x.game == "halves"]
    assert leak.auc == pytest.approx(np.mean(aucs), abs=1e-12)
    assert leak.p is not None
    assert leak.verdict != "leaks"
    (reason,) = {r.reason for r in run.record.results if (r.game, r.method) == ("halves", "np")}
    assert reason == "merges nobody: no members"
    told = run.record.plugins["game halves"]
    assert (told["origin"], told["randomised"], told["says"]) == (
        "halves.py",
        True,
        "Halves were drawn: a finding is false.",
    )
    assert len(told["sha256"]) == 64
    assert run.record.plugins["game heldout"]["version"] == 1


def test_games_of_one_kind_share_a_pass_and_another_has_its_own(played: tuple[Run, list[Path]]) -> None:
    exam = read_exam(played[0].path, "LaMP-4")
    assert [p.key for p in exam.passes] == [
        ("base", "sharers", None),
        *(("modules", "sharers", method) for method in ("np", "prime")),
        *(("adapters", "sharers", method) for method in ("np", "prime")),
    ]
    # An adapter alone has nothing to do with the method: np has members, too.
    np_, prime = (p for p in exam.passes if p.kind == "adapters")
    assert np_.merged == prime.merged
    assert all(len(sharers) == 1 for sharers in np_.merged.values())
    (np_leak, own) = [x for x in played[0].record.leaks if x.game == "alone"]
    assert (np_leak.auc, np_leak.method, own.method) == (own.auc, "np", "prime")
    community = played[0].record.community["LaMP-4"]
    for target, (sharer,) in np_.merged.items():
        nearest = community["sharers"][int(np.argmax(community["similarity"][target]))]
        assert sharer == nearest["user"]


def test_it_is_rescored_from_the_stored_signals(played: tuple[Run, list[Path]], tmp_path: Path) -> None:
    run, files = played
    found = attack(run.path, "loss,loss_mean", plugins=files, out=tmp_path / "again", quiet=True)
    ours = {(x.method, x.game): x for x in found.record.leaks if x.attack == "loss"}
    assert {(x.method, x.game): x.auc for x in run.record.leaks} == {k: x.auc for k, x in ours.items()}
    only = attack(run.path, "loss", games="alone", plugins=files, out=tmp_path / "only", quiet=True)
    assert {x.game for x in only.record.leaks} == {"alone"}
    assert [x for x in only.record.leaks if x.method == "prime"] == [
        x for x in run.record.leaks if (x.method, x.game) == ("prime", "alone")
    ]


def test_without_its_file_one_line_says_what_to_do(played: tuple[Run, list[Path]], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'halves'.*given by --plugin FILE") as fault:
        attack(played[0].path, "loss", out=tmp_path / "again", quiet=True)
    assert "\n" not in str(fault.value)


def test_the_page_shows_it_from_the_record_alone(played: tuple[Run, list[Path]]) -> None:
    """Whether members were drawn, and what the verdict can say, is the record's: the plugin may be gone."""
    page = (played[0].path / "index.html").read_text(encoding="utf-8")
    assert "Halves were drawn: a finding is false." in plain(page)
    (leak,) = [x for x in played[0].record.leaks if x.game == "halves"]
    table = (played[0].path / "table.md").read_text(encoding="utf-8")
    (row,) = [line for line in table.splitlines() if "| halves" in line and leak.verdict in line]
    cells = [cell.strip() for cell in row.split("|")]
    assert leak.q is not None
    assert cells[6] == f"{leak.q:.3f}"
    again = load_run(played[0].path)
    assert again.record.to_json() == played[0].record.to_json()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("return pool.deal(audited.target, rows, members)", "return rows", "must return Dealt"),
        (
            "return pool.deal(audited.target, rows, members)",
            "return 1 / 0",
            "game halves failed: ZeroDivisionError",
        ),
    ],
)
def test_a_game_that_fails_costs_its_own_figures(
    played: tuple[Run, list[Path]], tmp_path: Path, old: str, new: str, message: str
) -> None:
    file = write(tmp_path, "halves", HALVES.replace(old, new))
    run, files = played
    found = attack(run.path, "loss", plugins=[file, files[1]], out=tmp_path / "again", quiet=True)
    assert {x.game for x in found.record.leaks} == {"heldout", "alone"}
    (failure,) = found.record.failures
    assert message in failure.error
    assert {r.value for r in found.record.results if r.game == "halves" and r.method == "prime"} == {None}
    assert "FAIL" in " ".join(check.line() for check in examine("halves", [file]))


@pytest.mark.parametrize(
    ("old", "new", "check", "message"),
    [
        ("", "", None, ""),
        ("members[own[: own.size // 2]] = True", "members[:] = True", "deals", "both sides for 0 of 40"),
        ('unit="item-within-sharer"', 'unit="sharer"', "unit", "sharer; "),
        ('rng_of(0, "halves", owner)', "np.random.default_rng()", "deterministic", "other members"),
        (
            'Dealt.nothing(audited.target, "merges nobody: no members")',
            "pool",
            "reasons",
            "a target without merged sharers: game",
        ),
        ("in dict.fromkeys(owners.tolist())", "in ['s0']", "audits", "no target has both"),
        ('says="Halves were drawn: a finding is false."', 'says=""', "described", "give source= and says="),
    ],
)
def test_the_doctor_names_what_is_wrong(
    tmp_path: Path, old: str, new: str, check: str | None, message: str
) -> None:
    assert old in HALVES
    file = write(tmp_path, "halves", HALVES.replace(old, new))
    wrong = {c.name: c.line() for c in examine("halves", [file]) if not c.ok}
    if check is None:
        assert wrong == {}
    else:
        assert message in wrong[check]


def test_queries_of_another_class_are_refused(tmp_path: Path) -> None:
    text = HALVES.replace("randomised=True)", "randomised=True, queries=dict)")
    file = write(tmp_path, "halves", text)
    assert load_game("halves", [file]).queries is dict
    assert "is no subclass of" in " ".join(check.line() for check in examine("halves", [file]))


def test_a_new_game_passes_its_own_test(tmp_path: Path, say: Callable[..., Any]) -> None:
    said = say("new", "game", "early", "--out", tmp_path / "mine")
    assert said.code == 0, said.err
    file = tmp_path / "mine" / "early.py"
    assert f"prime-audit doctor early --plugin {file}" in " ".join(said.out.split())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_early.py"],
        cwd=tmp_path / "mine",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    taken = say("new", "game", "heldout", "--out", tmp_path / "mine")
    assert (taken.code, "taken by game heldout" in taken.err) == (2, True)


def test_games_are_found_without_torch() -> None:
    code = (
        "import sys; from prime_audit.plugins.loading import available, load_game\n"
        "[load_game(name) for name in available('game')]; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


OWN = '''"""A game with items of its own, under names that it inherits."""
from prime_audit.audit.design import Dealt
from prime_audit.games.exam.queries import Queries
from prime_audit.plugins import game


class Own(Queries):
    """The sharers' items, one of them only."""

    @classmethod
    def items(cls, community, data):
        raise RuntimeError("these items cannot be gathered")


@game(source="a test", says="Nothing.", unit="item", randomised=True, queries=Own)
def own(audited, pool):
    """Members: none."""
    return Dealt.nothing(audited.target, f"{len(pool)} items")
'''
BOOM = HALVES.replace("def halves", "def boom").replace("rows = np", "raise KeyError('x')\n    rows = np")
MINE = HALVES.replace("def halves", "def mine").replace(
    "@game(",
    """
class Mine(__import__("prime_audit.games.exam.queries", fromlist=["x"]).Queries):
    \"\"\"As usual, with a caution of its own.\"\"\"

    @classmethod
    def cautions(cls, community, data, passes):
        return [f"{len(passes)} methods were queried"]


@game(queries=Mine, """,
)


@pytest.fixture(scope="module")
def mixed(
    tmp_path_factory: pytest.TempPathFactory, small_data: Callable[[str], Path], small: Sequence[str]
) -> Run:
    """Play games that fail beside those that do not."""
    folder = tmp_path_factory.mktemp("mixed")
    files = [write(folder, name, text) for name, text in {"own": OWN, "boom": BOOM, "mine": MINE}.items()]
    return compare(
        "prime",
        tasks="LaMP-4",
        games="boom,heldout,own,mine",
        attacks="loss",
        data=str(small_data("LaMP-4")),
        overrides=[*small, "heldout=0.4"],
        plugins=files,
        out=folder / "run",
        cache=None,
        quiet=True,
    )


def test_signals_are_added_to_a_run_whose_other_games_failed(mixed: Run) -> None:
    """The model runs again for minkpp; games that failed in the run are no new failures."""
    files = sorted(mixed.path.parent.glob("*.py"))
    found = attack(
        mixed.path, "minkpp", games="heldout", plugins=files, out=mixed.path.parent / "again", quiet=True
    )
    assert {(x.game, x.attack) for x in found.record.leaks} == {("heldout", "minkpp")}


@pytest.mark.parametrize(
    ("hook", "arguments"),
    [("hold_back", "cls, data, settings, seed"), ("label", "cls, spec"), ("nothing", "cls, made")],
)
def test_a_hook_that_raises_outside_its_game_ends_the_run_in_one_line(
    hook: str,
    arguments: str,
    tmp_path: Path,
    small_data: Callable[[str], Path],
    small: Sequence[str],
) -> None:
    file = write(tmp_path, "own", OWN.replace("items(cls, community, data)", f"{hook}({arguments})"))
    with pytest.raises(UserError, match=r"^game own failed: RuntimeError: these items .*doctor own"):
        compare(
            "nearest",
            tasks="LaMP-4",
            games="heldout,own",
            data=str(small_data("LaMP-4")),
            overrides=small,
            plugins=[file],
            out=tmp_path / "run",
            cache=None,
            quiet=True,
        )
    assert not (tmp_path / "run").exists()


def test_in_compare_too_a_game_that_fails_costs_its_own_figures(mixed: Run, played: tuple[Run, Any]) -> None:
    leaks = {x.game: x for x in mixed.record.leaks if x.method == "prime"}
    assert set(leaks) == {"heldout", "mine"}
    assert leaks["heldout"] == next(x for x in played[0].record.leaks if x.game == "heldout")
    failed = {f.stage: f.error for f in mixed.record.failures}
    assert set(failed) == {"game boom", "game own"}
    assert "KeyError" in failed["game boom"]
    assert "these items cannot be gathered" in failed["game own"]
    (why,) = {r.reason for r in mixed.record.results if (r.game, r.method) == ("own", "prime")}
    assert why is not None
    assert "these items cannot be gathered" in why


def test_a_class_without_a_name_has_one_of_its_own(mixed: Run, played: tuple[Run, Any]) -> None:
    passes = [p for p in read_exam(mixed.path, "LaMP-4").passes if p.method == "prime"]
    assert [(p.kind, p.pool) for p in passes] == [
        ("modules", "sharers"),
        ("prime_audit_plugin_own.Own", "prime_audit_plugin_own.Own items"),
        ("prime_audit_plugin_mine.Mine", "sharers"),
    ]
    assert "LaMP-4: 2 methods were queried" in mixed.record.warnings
    mine, halves = (
        [(s["target"], s["item"], s["member"], s["score"]) for s in run.scores() if s["game"] == game]
        for run, game in ((mixed, "mine"), (played[0], "halves"))
    )
    assert mine == halves != []


def test_two_classes_of_one_name_are_refused(tmp_path: Path) -> None:
    text = ALONE.replace('name = "adapters"', 'name = "target"')
    file = write(tmp_path, "alone", text)
    with pytest.raises(UserError, match=r"games alone and target have.*'target'.*or none") as fault:
        grouped([load_game("heldout"), load_game("alone", [file]), load_game("target")])
    assert "\n" not in str(fault.value)
    assert "the name 'target'" in " ".join(check.line() for check in examine("alone", [file]))


def test_a_rescoring_records_the_game_that_judged(played: tuple[Run, list[Path]], tmp_path: Path) -> None:
    run, files = played
    assert not [w for w in run.record.warnings if "halves" in w]
    text = HALVES.replace("randomised=True", "randomised=False").replace("a finding is false", "as edited")
    edited = write(tmp_path, "halves", text)
    found = attack(run.path, "loss,zlib", plugins=[edited, files[1]], out=tmp_path / "again", quiet=True)
    now, was = (r.plugins["game halves"] for r in (found.record, run.record))
    assert (now["randomised"], now["says"]) == (False, "Halves were drawn: as edited.")
    assert now["sha256"] != was["sha256"]
    assert found.record.plugins == {**run.record.plugins, **found.record.plugins}
    assert "attack zlib" in found.record.plugins
    (warning,) = set(found.record.warnings) - set(run.record.warnings)
    assert warning.startswith("game halves differs from the run's")
    assert "Halves were drawn: as edited." in plain((found.path / "index.html").read_text(encoding="utf-8"))


def test_the_other_games_of_a_run_may_be_gone(played: tuple[Run, list[Path]], tmp_path: Path) -> None:
    """Signals that are not stored are observed again without them, too."""
    run = tmp_path / "run"
    shutil.copytree(played[0].path, run)
    found = attack(run, "loss,minkpp", games="heldout", out=tmp_path / "again", quiet=True)
    assert {(x.game, x.attack) for x in found.record.leaks} == {("heldout", "loss"), ("heldout", "minkpp")}
    ours = {x.method: x.auc for x in found.record.leaks if x.attack == "loss"}
    assert ours == {x.method: x.auc for x in played[0].record.leaks if x.game == "heldout"}
    fields = {p.kind: set(p.fields) for p in read_exam(run, "LaMP-4").passes if p.seen}
    assert "mu" in fields["modules"]
    assert "mu" not in fields["adapters"]


def test_a_report_shows_what_the_record_has_of_a_game() -> None:
    plugins = {"game heldout": {"version": 1, "randomised": False, "says": "as judged", "samples": True}}
    assert note_of("heldout", plugins) == GameNote(False, "as judged", True)
    installed = load_game("heldout")
    for old in ({}, {"game heldout": {"version": 1}}):
        assert note_of("heldout", old) == GameNote(True, installed.says, False)
    assert note_of("gone", plugins) == GameNote()


def test_every_listed_name_is_described_under_its_kinds(say: Callable[..., Any]) -> None:
    for listed in ("methods", "attacks", "games", "tasks", "presets"):
        kind = listed.removesuffix("s")
        for row in json.loads(say("list", listed, "--json").out):
            told = say("describe", row[kind])
            assert told.code == 0, told.err
            kinds = [line for line in told.out.splitlines() if line.startswith("kind: ")]
            assert any(kind in line for line in kinds), row
    told = say("describe", "paper").out
    assert ("kind: membership game" in told, "kind: preset" in told) == (True, True)
