"""Faults inside a run: what fails is named and costs its own figures; all else is there, and kept for the next time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prime_audit import load_run
from prime_audit.errors import PartError, UserError
from prime_audit.faults import one_line
from prime_audit.folder import Run
from prime_audit.record import Failure, Result, record_from_json
from prime_audit.report.from_record import sheet_of
from prime_audit.report.views import panel
from prime_audit.seeds import seed_of

METHOD = '''"""Everybody gets the nearest sharer's adapter, where nothing is in the way."""
import numpy as np
from prime_audit.community.sharers import bank_name
from prime_audit.engine.mixture import Mixture
from prime_audit.plugins import Personal, method


@method(source="a test")
def personalise(scene):
    """Copy one sharer."""
    scene.community.ready()
    made = {}
    for user in scene.community.targets:
        weight = 1.0
        # here
        (near,) = scene.community.nearest(user.id, 1)[:1]
        made[user.id] = Personal(Mixture((bank_name(near),), np.full(1, weight)), (near,))
    return made
'''
ATTACK = '''"""Mean log-probability, where nothing is in the way."""
import numpy as np
from prime_audit.plugins import attack


@attack(source="a test", needs=("logprobs",))
def score(signals):
    """Higher where the text is better known."""
    # here
    return np.array([tokens.mean() for tokens in signals.logprobs])
'''


def spoilt(file: Path, text: str, line: str = "") -> Path:
    """Write a plugin with a line of fault in it; without one it works."""
    file.write_text(text.replace("# here", line or "pass"), encoding="utf-8")
    return file


def figures(run: Run, *leave: str) -> list[Result]:
    return [r for r in run.record.results if r.method not in leave]


@pytest.fixture
def targets(small_data: Callable[[str], Path]) -> list[str]:
    from prime_audit.lamp.source import open_data
    from prime_audit.settings import load_settings

    data = open_data(str(small_data("LaMP-3")), "LaMP-3", 0, load_settings("laptop"), strict=False)
    return [user.id for user in data.targets]


def test_a_method_that_raises_for_one_target_fails_her_cell_and_a_rerun_does_no_more_than_that(
    quick: Callable[..., Run],
    tmp_path: Path,
    targets: list[str],
    content: Callable[[Run], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from prime_audit.engine.engine import Engine

    fault = f"if user.id == {targets[1]!r}: open('/no/such/folder/secret.txt')"
    file = spoilt(tmp_path / "mine.py", METHOD, fault)
    words = {"task": "LaMP-3", "plugins": [file], "sets": ["chunk=1"], "cache": tmp_path / "cache"}
    run = quick("mine,mine+rag,perpcs", **words)

    # What failed is told, by name, without the machine's paths; the traceback stands in a file.
    (failure,) = run.record.failures
    assert replace(failure, error="", file="") == Failure(
        task="LaMP-3", stage="personalise", method="mine", chunk=1, targets=1, file=""
    )
    assert failure.error.startswith(
        "method mine failed: FileNotFoundError: [Errno 2] No such file or directory"
    )
    assert "secret.txt" in failure.error
    assert "/no/such" not in failure.error
    assert failure.file == "failures/001.txt"
    trace = (run.path / "failures" / "001.txt").read_text(encoding="utf-8")
    assert "mine.py" in trace
    assert "in personalise" in trace
    assert "FileNotFoundError: [Errno 2] No such file or directory: '/no/such/folder/secret.txt'" in trace
    # Its figures are null, with that reason; nobody takes them for figures that do not apply.
    for r in (r for r in run.record.results if r.method in ("mine", "mine+rag")):
        assert (r.value, r.ci, r.reason) == (None, None, f"failed: {failure.error}")
    for c in (c for c in run.record.comparisons if c.method in ("mine", "mine+rag")):
        assert (c.difference, c.reason) == (None, f"failed: {failure.error}")
    page, table = ((run.path / name).read_text(encoding="utf-8") for name in ("index.html", "table.md"))
    row = next(line for line in table.splitlines() if line.startswith("| `mine`"))
    assert row.count("failed") > 5
    assert len(set(re.findall("failed.", row))) == 1  # all for one reason
    assert "n/a" not in row
    assert "## Failures" in table
    assert "failed: LaMP-3 · mine · personalise (1 targets, chunk 1): method mine failed" in page
    assert '<span class="v">failed</span>' in page
    # Everybody else has the figures of a run without it.
    assert figures(run, "mine", "mine+rag") == figures(
        quick("perpcs", task="LaMP-3", sets=["chunk=1"], out=tmp_path / "without")
    )

    # Mended, it is tried again in the same folder, and only what had failed is computed.
    spoilt(file, METHOD)
    asked: list[str] = []
    generate, observe = Engine._generate, Engine._observe

    def watched(self: Engine, requests: Any, *rest: Any) -> Any:
        asked.extend(r.key[1] for r in requests)
        return generate(self, requests, *rest)

    def seen(self: Engine, probes: Any, *rest: Any) -> Any:
        asked.append(f"pass over {len({p.mixture.names for p in probes})} models")
        return observe(self, probes, *rest)

    monkeypatch.setattr(Engine, "_generate", watched)
    monkeypatch.setattr(Engine, "_observe", seen)
    fixed = quick("mine,mine+rag,perpcs", **words)
    assert set(asked) == {targets[1], "pass over 1 models"}
    assert asked.count("pass over 1 models") == 1
    monkeypatch.undo()
    assert fixed.record.failures == ()
    assert not (fixed.path / "failures").exists()
    fresh = quick("mine,mine+rag,perpcs", **words | {"out": tmp_path / "fresh", "cache": None})
    assert content(fixed) == content(fresh)
    # Whole, it is a run like others: another plugin does not overwrite it.
    spoilt(file, METHOD, "weight = 0.5")
    with pytest.raises(UserError, match="holds another run"):
        quick("mine,mine+rag,perpcs", **words)


def test_a_method_may_fail_in_one_task_alone(
    say: Callable[..., Any],
    tmp_path: Path,
    small: Sequence[str],
    small_data: Callable[[str], Path],
    llama_folder: Path,
) -> None:
    (root,) = {small_data(task).parent for task in ("LaMP-3", "LaMP-4")}
    file = spoilt(
        tmp_path / "mine.py", METHOD, "if scene.task.name == 'LaMP-3': raise ValueError('no\\nway')"
    )
    sets = [word for pair in small for word in ("--set", pair)]
    said = say(
        *("compare", "--methods", "mine", "--plugin", file, "--no-cache", *sets, "--tasks", "LaMP-3,LaMP-4"),
        *("--data", root, "--model", llama_folder, "--out", tmp_path / "run"),
    )
    assert said.code == 3
    assert "Traceback" not in said.out + said.err
    shown = " ".join(said.out.split())
    assert "failed: LaMP-3 · mine · personalise (3 targets): method mine failed: ValueError: no way" in shown
    record = load_run(tmp_path / "run").record
    assert [(f.task, f.method) for f in record.failures] == [("LaMP-3", "mine")]
    own = [r for r in record.results if r.method == "mine" and r.game is None]
    assert {(r.task, r.value is None) for r in own} == {("LaMP-3", True), ("LaMP-4", False)}
    assert say("show", tmp_path / "run").code == 0
    refused = say(
        "plan",
        "--methods",
        "mine",
        "--plugin",
        file,
        *sets,
        "--data",
        root,
        "--tasks",
        "LaMP-3",
        "--model",
        llama_folder,
        "--cache",
        tmp_path / "cache",
    )
    assert refused.code == 3
    assert "would fail: LaMP-3 · mine · personalise" in refused.err


def test_a_plugin_that_does_not_import_ends_the_run_before_anything_is_done(
    quick: Callable[..., Run], tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text("raise RuntimeError('no')\n" + METHOD, encoding="utf-8")
    with pytest.raises(UserError, match=r"method mine: .*mine\.py does not import: RuntimeError: no"):
        quick("perpcs,mine", plugins=[file])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("old", "new", "stage", "message"),
    [
        ("np.full(1, weight)", "np.full(1, np.nan)", "personalise", "has merge weights that are not finite"),
        ("np.full(1, weight)", "np.full(1, -np.inf)", "personalise", "has merge weights that are not finite"),
        ("bank_name(near)", "'sharer:x'", "personalise", "'sharer:x', which the bank does not hold"),
        ("(near,))\n", "('nobody',))\n", "personalise", "merges 'nobody', who shares nothing"),
        ("return made", "return {}", "personalise", "made no model for user"),
        ("return made", "raise SystemExit(0)", "personalise", "method mine failed: SystemExit: 0"),
        ("np.full(1, weight)", "np.ones((7, 1))", "answer", "match neither"),
    ],
)
def test_what_no_model_can_be_is_found_under_the_methods_name(
    quick: Callable[..., Run], tmp_path: Path, old: str, new: str, stage: str, message: str
) -> None:
    file = spoilt(tmp_path / "mine.py", METHOD.replace(old, new))
    run = quick("mine", task="LaMP-3", plugins=[file])
    failure = run.record.failures[0]
    assert (failure.method, failure.stage) == ("mine", stage)
    assert message in failure.error
    assert [r.value for r in figures(run, "np") if r.game is None] == [None, None]


def test_a_full_disk_is_nobodys_failure_and_ends_the_run(quick: Callable[..., Run], tmp_path: Path) -> None:
    file = spoilt(tmp_path / "mine.py", METHOD, "raise OSError(28, 'No space left on device')")
    with pytest.raises(OSError, match="No space left on device"):
        quick("mine", task="LaMP-3", plugins=[file])
    assert not (tmp_path / "run").exists()


def test_a_method_that_fails_in_the_inclusion_game_has_all_other_figures(
    quick: Callable[..., Run], tmp_path: Path
) -> None:
    fault = "if scene.community.included is not None: raise ValueError('not again')"
    file = spoilt(tmp_path / "mine.py", METHOD, fault)
    words = {"task": "LaMP-3", "games": "paper,heldout,inclusion,target"}
    run = quick("mine,soup", plugins=[file], **words)
    (failure,) = run.record.failures
    assert (failure.method, failure.stage) == ("mine", "signals (inclusion)")
    failed = {(r.game, (r.reason or "").startswith("failed: ")) for r in figures(run, "np", "soup") if r.game}
    assert failed == {("paper", False), ("heldout", False), ("inclusion", True), ("target", False)}
    assert figures(run, "mine") == figures(quick("soup", out=tmp_path / "without", **words))


def test_an_attack_that_raises_leaves_the_others_figures(
    quick: Callable[..., Run], tmp_path: Path, say: Callable[..., Any]
) -> None:
    file = spoilt(
        tmp_path / "odd.py", ATTACK, "if len(set(map(len, signals.logprobs))) >= 0: raise KeyError('x')"
    )
    run = quick("soup", task="LaMP-3", attacks="loss,odd", plugins=[file])
    assert {(f.method, f.attack, f.stage) for f in run.record.failures} == {
        ("soup", "odd", "game paper"),
        ("soup", "odd", "game heldout"),
    }
    assert {f.file for f in run.record.failures} == {"failures/001.txt"}  # one fault, one traceback
    # The control panel has them in their rows, in the file and on the terminal.
    told = (run.path / "table.md").read_text("utf-8").partition("### Control panel")[2]
    lines = told.partition("\n\n")[2].partition("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "odd" in line]
    number = rows[0][-1].removeprefix("failed")
    assert [(row[:3], set(row[3:-1]), row[-1]) for row in rows] == [
        (["soup", game, "odd"], {"–"}, f"failed{number}") for game in ("paper", "heldout")
    ]
    (reason,) = [line for line in told.splitlines() if line.startswith(f"* {number} ")]
    assert "failed: KeyError" in reason
    assert "traceback in failures/001.txt" in told.partition("## Failures")[2]
    shown = say("show", run.path, "--details", "--explain").out.split("control panel")[1].split("AUC: how")[0]
    assert len([line for line in shown.splitlines() if line.rstrip().endswith(f" failed{number}")]) == 2
    assert f"{number} failed: attack odd failed: KeyError" in shown
    alone = quick("soup", task="LaMP-3", attacks="loss", out=tmp_path / "alone")
    assert [r for r in run.record.results if r.attack != "odd"] == list(alone.record.results)
    # The same on stored signals; fixed, it is scored without the model.
    said = say("attack", run.path, "--attacks", "loss,odd,loss", "--plugin", file)
    assert said.code == 3
    assert "note: --attacks: loss is named twice; it runs once\n" in said.err
    assert "odd · game paper" in " ".join(said.out.split())
    spoilt(file, ATTACK)
    said = say("attack", run.path, "--attacks", "loss,odd", "--plugin", file, "--json")
    assert said.code == 0
    record = record_from_json(json.loads(said.out))
    assert record.failures == ()
    assert all(r.value is not None for r in record.results if (r.method, r.metric) == ("soup", "auc"))


def test_a_failed_attack_stands_beside_the_labels_that_it_cost(
    quick: Callable[..., Run], tmp_path: Path
) -> None:
    """Methods of one core share the fault as they share the figures of another attack."""
    file = spoilt(tmp_path / "odd.py", ATTACK, "if len(signals.logprobs) >= 0: raise KeyError('x')")
    run = quick(
        "rag,soup+rag,prime,prime+rag",
        task="LaMP-3",
        attacks="loss,odd",
        games="heldout,target",
        plugins=[file],
    )
    assert {f.method for f in run.record.failures if f.stage == "game heldout"} == {"soup", "prime"}
    sheet = sheet_of(run.record, "run")
    table = panel(sheet, "LaMP-3")
    rows = [
        (methods, cells[0].text, cells[1].text)
        for (methods,), cells in zip(table.labels, table.cells, strict=True)
    ]
    by_attack = {
        attack: [(game, m) for methods, game, a in rows if a == attack for m in methods.split(", ")]
        for attack in ("loss", "odd")
    }
    assert sorted(by_attack["odd"]) == sorted(by_attack["loss"])
    assert ("heldout", "prime+rag") in by_attack["odd"]
    assert ("target", "rag") in by_attack["odd"]
    (reason,) = {cells[-1].reason for cells in table.cells if cells[1].text == "odd"}
    assert reason.startswith("failed: attack odd failed: KeyError")
    assert any(line.endswith("traceback in failures/001.txt") for line in sheet.failures)


def test_a_leaderboard_refuses_what_failed_and_takes_the_rest(
    quick: Callable[..., Run], tmp_path: Path
) -> None:
    from prime_audit.boards.filed import parts

    file = spoilt(tmp_path / "mine.py", METHOD, "raise ValueError('no')")
    run = quick("mine,mine+rag,soup", task="LaMP-3", plugins=[file])
    by_method = {next(iter(p.methods)): p for p in parts(run.record)}
    assert {m for m, p in by_method.items() if p.failures} == {"mine", "mine+rag"}
    assert by_method["mine"].failures == run.record.failures
    (refusal,) = refusals(by_method["mine"])
    assert "mine · personalise" in refusal
    assert refusals(by_method["soup"]) == []


def refusals(record: Any) -> list[str]:
    from prime_audit.boards.admission import _faults
    from prime_audit.boards.config import Board

    board = Board(folder=Path("board"), name="board", title="Any")
    return [fault for fault in _faults(board, record) if fault.startswith("has failures")]


# -- training that diverges --------------------------------------------------------------------------------


def diverging(monkeypatch: pytest.MonkeyPatch, *owners: str) -> None:
    """Let these owners' adapters begin at numbers that overflow."""
    import torch

    from prime_audit.engine import train

    plain, seeds = train.fresh_lora, {seed_of(0, owner, "init") for owner in owners}

    def start(base: Any, shape: Any, seed: int) -> Any:
        made = plain(base, shape, seed)
        if seed in seeds:
            with torch.no_grad():
                for p in made:
                    p.fill_(1e30)
        return made

    monkeypatch.setattr(train, "fresh_lora", start)


def test_a_sharer_whose_training_diverges_is_left_out_and_named(
    quick: Callable[..., Run],
    tmp_path: Path,
    content: Callable[[Run], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from prime_audit.community import build, training

    words = {"task": "LaMP-3"}
    methods = "perpcs,prime"
    sharers = quick("soup", task="LaMP-3", out=tmp_path / "all").record.community["LaMP-3"]["sharers"]
    gone = sharers[1]["user"]
    with monkeypatch.context() as patch:
        diverging(patch, f"sharer:{gone}")
        run = quick(methods, out=tmp_path / "run", cache=tmp_path / "cache", **words)
    (failure,) = run.record.failures
    assert (failure.stage, failure.sharer, failure.method, failure.file) == ("share", gone, None, None)
    assert failure.error.startswith(f"training of sharer:{gone} diverged at step 1 of ")
    assert "the loss of item " in failure.error
    left = run.record.community["LaMP-3"]["sharers"]
    assert [s["user"] for s in left] == [s["user"] for s in sharers if s["user"] != gone]
    assert [s["cluster"] for s in left] == [s["cluster"] for s in sharers if s["user"] != gone]
    assert all((tmp_path / "cache" / s["adapter"]).is_dir() for s in left)
    assert not [
        m for m in run.path.joinpath("models.jsonl").read_text().splitlines() if f"sharer:{gone}" in m
    ]

    # All figures are those of a community that never had her, to what other batches change.
    choose = build.choose_sharers
    with monkeypatch.context() as patch:
        patch.setattr(
            build, "choose_sharers", lambda *a, **k: tuple(s for s in choose(*a, **k) if s.user.id != gone)
        )
        without = quick(methods, out=tmp_path / "without", **words)
    assert without.record.failures == ()
    assert list(run.predictions()) == list(without.predictions())
    for a, b in zip(run.record.results, without.record.results, strict=True):
        assert replace(a, value=None, ci=None) == replace(b, value=None, ci=None)
        assert a.value == pytest.approx(b.value, abs=1e-3)

    # That she diverged is kept: nothing is trained again, and the record is the same.
    monkeypatch.setattr(training, "train_adapters", lambda *_, **__: pytest.fail("trained again"))
    again = quick(methods, out=tmp_path / "again", cache=tmp_path / "cache", **words)
    assert content(again) == content(run)


def test_too_few_sharers_left_are_the_users_to_mend(
    quick: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = quick("soup", task="LaMP-3", out=tmp_path / "all").record
    gone = record.community["LaMP-3"]["sharers"][0]["user"]
    diverging(monkeypatch, f"sharer:{gone}")
    with pytest.raises(UserError, match=r"4 sharers asked for, .* has 3 \(1 more diverged in training\)"):
        quick("soup:k=4", task="LaMP-3")


@pytest.mark.parametrize(
    ("sets", "methods", "message"),
    [
        (
            "sharer.lr=1e30",
            "soup",
            r"LaMP-3: no sharer is left: training of sharer:\w+ diverged at step \d+ of",
        ),
        ("adaptation.lr=1e30", "np", r"LaMP-3: training of base diverged at step \d+ of .*adaptation\.lr"),
    ],
)
def test_what_leaves_nothing_to_go_on_with_ends_the_run_in_one_line(
    quick: Callable[..., Run], tmp_path: Path, sets: str, methods: str, message: str
) -> None:
    with pytest.raises(UserError, match=message) as fault:
        quick(methods, task="LaMP-3", sets=[sets])
    assert not isinstance(fault.value, PartError)
    assert not (tmp_path / "run").exists()


def test_a_targets_own_adapter_that_diverges_fails_her_cell(
    quick: Callable[..., Run], tmp_path: Path, targets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    diverging(monkeypatch, targets[2])
    run = quick("oppu,soup", task="LaMP-3", sets=["chunk=1"])
    (failure,) = run.record.failures
    assert (failure.method, failure.chunk, failure.stage) == ("oppu", 2, "personalise")
    assert f"training of {targets[2]} diverged at step 1 of" in failure.error
    assert figures(run, "oppu") == figures(
        quick("soup", task="LaMP-3", sets=["chunk=1"], out=tmp_path / "soup")
    )


# -- how it is told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (
            FileNotFoundError(2, "No file", "/home/ann/d.csv"),
            "FileNotFoundError: [Errno 2] No file: 'd.csv'",
        ),
        (ValueError(r"cannot read C:\Users\ann\x.txt here"), "ValueError: cannot read x.txt here"),
        (ValueError("3/4 of LaMP-2/accuracy, a/b"), "ValueError: 3/4 of LaMP-2/accuracy, a/b"),
        (TypeError("<object at 0x7f001122> is\nnone"), "TypeError: <object at 0x…> is none"),
        (PartError("method mine failed: it did"), "method mine failed: it did"),
    ],
)
def test_an_error_is_one_line_that_is_the_same_everywhere(fault: Exception, line: str) -> None:
    assert one_line(fault) == line


def test_a_long_error_is_cut_and_an_older_record_had_no_failures(quick: Callable[..., Run]) -> None:
    assert len(one_line(ValueError("x" * 5000))) == 300
    content = json.loads(json.dumps(quick("np", task="LaMP-3").record.to_json()))
    assert content.pop("failures") == []
    assert record_from_json(content).failures == ()
