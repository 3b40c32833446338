"""Calibration of the auditor: audits with a known answer, to count false alarms, power and coverage.

1. Audits without a leak: labels without effect, selection, drift in held-out items, models that tell how many people
   they merged; simulated (``scenarios.py``), or a real pass of a small world with redrawn labels. How often an audit
   says ``leaks`` should be at most 5 %. Beside it is the test that treats items as independent.
2. A board of many methods and tasks on which nothing leaks.
3. Planted leaks, dense and sparse: how often they are found.
4. Intervals where few people are audited.
5. Bounds on ε where the true ε is known: simulated mechanisms, and modules trained with DP-SGD (``calibrate_dp.py``).
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prime_audit.audit.epsilon import clopper_pearson
from prime_audit.calibration.mechanisms import Bounds, mechanisms
from prime_audit.calibration.scenarios import (
    METHODS,
    PEOPLE,
    SCENARIOS,
    TASKS,
    Scenario,
    coverage_world,
)
from prime_audit.calibration.trials import (
    Coverage,
    Outcome,
    coverage,
    kind_of,
    null_board,
    outcome,
    redrawn,
    trials,
)
from prime_audit.errors import UserError
from prime_audit.folder import load_run, write_atomic
from prime_audit.games.exam.queries import Queries
from prime_audit.games.exam.simulated import simulated
from prime_audit.games.exam.stored import Exam, read_exam
from prime_audit.plugins.loading import available, load_attack, load_game
from prime_audit.seeds import seed_of

ATTACKS = ("loss_mean", "minkpp", "lira_online", "rmia")
"""Attacks of the real pass: one of each kind of signal, including the community's shadow models."""
NOTE = (
    f"Real pass: stored signals of a small run with redrawn labels, attacks {', '.join(ATTACKS)} "
    "(those with stored signals; in the inclusion game, which has no shadow models, lira_online "
    "gives no score). Tests: share of audits and attacks with p <= 0.05, uncorrected. Leaks, ε and confounded: "
    "share of audits with any. The paper's game never says leaks. Intervals in brackets are exact 95 % intervals."
)
AUDIT_COLUMNS = (
    *("what", "source", "game", "audits", "clustered test rejects", "item-level test rejects"),
    *("leaks", "ε above 0", "confounded"),
)
COVERAGE_COLUMNS = ("95 % interval", "people", "audits", "covered", "below the truth", "none")
BOUND_COLUMNS = (
    *("mechanism", "estimator", "true ε", "bounds"),
    *("mean bound", "highest", "of at most", "above 0", "above the truth", "AUC"),
)
ALPHA = 0.05
BOARD_PART = 4
"""One board for every so many audits of other kinds: it takes longer."""
WORLD = {"users": 26, "adapt": 2, "targets": 6, "history": (14, 16), "queries": 1, "clusters": 6}
SMALL = ("clusters=10", "min_history=4", "heldout=0.4", "max_new=2", "prime.k=4", "prime.budget=5")
Shares = tuple[float, float, float]
"""A share, and its exact 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class Audits:
    """Audits of one kind with one known answer."""

    what: str
    """``null``, another kind without a leak, or a leak."""
    source: str
    """``simulated``, a board's q, or ``real pass`` with redrawn labels and the attacks' number."""
    game: str
    audits: int
    clustered: float
    """Share of audits and attacks in which the clustered permutation test, uncorrected, rejects at α = 0.05."""
    naive: float | None
    """The same for the item-level Mann-Whitney test; None where it was not computed."""
    leaks: Shares
    """Share of audits in which the verdict of an attack is ``leaks``: false alarms without a leak, else power."""
    epsilon: float | None
    """Share of audits in which a bound on ε is above 0; None where membership is selected or ε was not computed."""
    confounded: float
    """Share of audits in which the verdict of an attack is ``confounded``."""


@dataclass(frozen=True, kw_only=True)
class Examination:
    """The counts."""

    seed: int
    audits: tuple[Audits, ...]
    coverages: tuple[Coverage, ...]
    bounds: tuple[Bounds, ...]
    left_out: tuple[str, ...]
    """Installed games that no real pass examines: they have no ``redraw``, or the run has no pass of them."""
    command: str
    seconds: float
    """How long it took."""

    def to_json(self) -> str:
        """Return everything as JSON."""
        return json.dumps(asdict(self), indent=2, allow_nan=False)

    def tables(self) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
        """Return (headers, rows) of all tables, as texts."""
        return [
            (AUDIT_COLUMNS, [_audit_row(a) for a in self.audits]),
            (COVERAGE_COLUMNS, [_coverage_row(c) for c in self.coverages]),
            (BOUND_COLUMNS, [_bound_row(b) for b in self.bounds]),
        ]

    def markdown(self) -> str:
        """Return a page with all tables and the command that repeats it."""
        from tabulate import tabulate

        tables = [
            tabulate(rows, headers, tablefmt="pipe", disable_numparse=True) for headers, rows in self.tables()
        ]
        out = [f"No real pass of: {', '.join(self.left_out)}."] if self.left_out else []
        took = f"`{self.command}`: {self.seconds:.0f} seconds."
        return "\n\n".join(["# Calibration of the auditor", took, NOTE, *out, *tables]) + "\n"


def calibrate(
    *,
    nulls: int = 100,
    seed: int = 0,
    dp_modules: int = 0,
    run: Path | None = None,
    out: Path | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> Examination:
    """Calibrate the auditor with ``nulls`` audits of each kind; write ``calibration.{json,md}`` to ``out``, if given.

    ``dp_modules``: modules trained at ε 1, at ε 8 and without noise, each so many; 0 trains none. ``run``: a finished
    run whose stored signals are the real pass, by default one of a small world. The same seed gives the same figures
    on the same machine. UserError where ``nulls`` is too small, ``run`` merges no sharers, or ``out`` cannot be
    written.
    """
    if nulls < 1 or dp_modules < 0:
        raise UserError(f"--nulls {nulls}, --dp-modules {dp_modules}: pass at least 1 null and 0 modules")
    began = time.monotonic()
    note("real pass")
    exam = _exam(run, seed)
    games = [load_game(name) for name in available("game")]
    able = [game for game in games if game.redraw is not None and kind_of(exam, game) is not None]
    left_out = tuple(game.name for game in games if game not in able)
    audits = [*_audits(exam, [game.name for game in able], nulls, seed, note)]
    note("intervals")
    coverages = [*_coverages(nulls, seed)]
    note("bounds of simulated mechanisms")
    bounds = mechanisms(nulls, seed)
    if dp_modules:
        from prime_audit.calibration.calibrate_dp import dp_bounds

        bounds += dp_bounds(dp_modules, seed, note)
    command = f"prime-audit calibrate --nulls {nulls} --dp-modules {dp_modules} --seed {seed}"
    command += f" --run {run}" if run else ""
    found = Examination(
        seed=seed,
        audits=tuple(audits),
        coverages=tuple(coverages),
        bounds=tuple(bounds),
        left_out=left_out,
        command=command,
        seconds=round(time.monotonic() - began, 1),
    )
    if out is not None:
        _write(out, found)
    return found


def _write(out: Path, found: Examination) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UserError(f"--out {out}: cannot be created ({fault.strerror}); choose another folder") from None
    write_atomic(out / "calibration.json", [found.to_json() + "\n"])
    write_atomic(out / "calibration.md", [found.markdown()])


def _audits(
    exam: Exam, games: Sequence[str], count: int, seed: int, note: Callable[[str], None]
) -> Iterable[Audits]:
    """Audit simulated worlds, a real pass, and boards."""
    for scenario in SCENARIOS:
        note(f"{scenario.what}, {scenario.game}")
        yield _simulated(scenario, count, seed)
    for name in games:
        game = load_game(name)
        attacks = [load_attack(attack) for attack in ATTACKS]
        attacks = [a for a in attacks if not exam.lacking(a.needs, [kind_of(exam, game) or Queries.name])]
        source = f"real pass, {len(attacks)} attacks"
        note(f"{source}, {name}")
        own = seed_of(seed, "calibrate", "real pass", name)
        found = [redrawn(exam, attacks, game, rng, own + n) for n, rng in enumerate(trials(count, own))]
        yield _counted("null", source, name, found)
    what = f"null, {METHODS} methods × {TASKS} tasks"
    note(what)
    own = seed_of(seed, "calibrate", "board")
    boards = [
        null_board(load_game("heldout"), rng, own + TASKS * n)
        for n, rng in enumerate(trials(max(1, count // BOARD_PART), own))
    ]
    yield _counted(what, "simulated, the run's q", "heldout", [run for run, _ in boards])
    yield _counted(what, "simulated, board-wide", "heldout", [board for _, board in boards])


def _simulated(scenario: Scenario, count: int, seed: int) -> Audits:
    game, own = load_game(scenario.game), seed_of(seed, "calibrate", scenario.what, scenario.game)
    found = [
        outcome(simulated(game, rng, scenario.world, everything=scenario.everything), own + n)
        for n, rng in enumerate(trials(count, own))
    ]
    return _counted(scenario.what, "simulated", scenario.game, found)


def _counted(what: str, source: str, game: str, found: Sequence[Outcome]) -> Audits:
    """Count what audits of one kind said."""
    naive = [p <= ALPHA for o in found for p in o.naive]
    drawn = load_game(game).design.randomised
    return Audits(
        what=what,
        source=source,
        game=game,
        audits=len(found),
        clustered=float(np.mean([p <= ALPHA for o in found for p in o.p])),
        naive=float(np.mean(naive)) if naive else None,
        leaks=_share(sum(o.leaks for o in found), len(found)),
        epsilon=float(np.mean([o.epsilon for o in found])) if drawn and naive else None,
        confounded=float(np.mean(["confounded" in o.verdicts for o in found])),
    )


def _coverages(count: int, seed: int) -> Iterable[Coverage]:
    for name in ("heldout", "paper", "target"):
        for people in PEOPLE:
            own = seed_of(seed, "calibrate", "coverage", name, str(people))
            yield coverage(load_game(name), people, coverage_world(name, people), count, own)


def _share(hits: int, of: int) -> Shares:
    return (hits / of, *clopper_pearson(hits, of))


def _exam(run: Path | None, seed: int) -> Exam:
    """Read a run's stored signals, or run PriME on a small world for them."""
    if run is not None:
        found = load_run(run)
        for task in found.record.spec["tasks"]:
            exam = read_exam(found.path, task)
            if any(p.method is not None and p.kind == Queries.name and p.seen for p in exam.passes):
                if exam.pools[Queries.pool].sampled:
                    raise UserError(
                        f"--run {run}: its non-members are sampled, so labels cannot be redrawn; "
                        "pass a run with nonmember_items=0"
                    )
                return exam
        raise UserError(
            f"--run {run}: none of its methods merges sharers, or their games failed; pass a run with prime or perpcs"
        )
    from prime_audit.lamp.world.world import write_world
    from prime_audit.runs.compare import compare

    with tempfile.TemporaryDirectory() as folder:
        sizes: dict[str, Any] = WORLD
        data = write_world("LaMP-2", folder, seed=seed, **sizes)
        made = compare(
            "prime",
            tasks="LaMP-2",
            data=str(data),
            overrides=SMALL,
            seed=seed,
            out=Path(folder) / "run",
            attacks=ATTACKS,
            cache=None,
            quiet=True,
        )
        return read_exam(made.path, "LaMP-2")


def _audit_row(a: Audits) -> tuple[str, ...]:
    leaks = _percent(a.leaks) if load_game(a.game).design.randomised else "–"
    naive, epsilon = ("–" if x is None else f"{100 * x:.1f} %" for x in (a.naive, a.epsilon))
    shares = (f"{100 * a.clustered:.1f} %", naive, leaks, epsilon, f"{100 * a.confounded:.1f} %")
    return (a.what, a.source, a.game, str(a.audits), *shares)


def _coverage_row(c: Coverage) -> tuple[str, ...]:
    known = c.audits - c.none
    covered, below = (_percent(_share(hits, known)) if known else "–" for hits in (c.covered, c.below))
    return (c.game, str(c.people), str(c.audits), covered, below, str(c.none))


def _percent(share: Shares) -> str:
    value, low, high = (100 * x for x in share)
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def _bound_row(b: Bounds) -> tuple[str, ...]:
    epsilon = "none" if b.epsilon is None else f"{b.epsilon:.3g}"
    figures = (f"{b.mean:.3f}", f"{b.highest:.3f}", f"{b.ceiling:.2f}")
    over = f"{b.exceed}" if b.epsilon is not None else "–"
    auc = "–" if b.auc is None else f"{b.auc:.3f}"
    return (b.mechanism, b.estimator, epsilon, str(b.bounds), *figures, str(b.shown), over, auc)
