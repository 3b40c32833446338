"""Calibration of the auditor: audits with a known answer, to count false alarms and power.

1. Null audits, in which labels have no effect. They are simulated (``trials.py``), or a real pass of a small
   world with redrawn labels and attacks of different kinds. The clustered test at α = 0.05 should reject between 2 %
   and 8.6 % of 200, which a binomial at 5 % nearly always gives. Beside it are the test that treats items as
   independent, and how often any attack of an audit says ``leaks``.
2. Planted leaks of three strengths: how often test and verdict find them.
3. ε bounds where the true ε is known: simulated mechanisms, and modules trained with DP-SGD (``calibrate_dp.py``).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prime_audit.audit.bounds import Bound
from prime_audit.calibration.trials import (
    Bounds,
    Outcome,
    coin_response,
    coin_shift,
    item_response,
    outcome,
    redrawn,
    trials,
)
from prime_audit.errors import UserError
from prime_audit.folder import load_run, write_atomic
from prime_audit.games.exam.queries import Queries, queries_of
from prime_audit.games.exam.simulated import simulated
from prime_audit.games.exam.stored import Exam, read_exam
from prime_audit.plugins import Game
from prime_audit.plugins.loading import available, load_attack, load_game
from prime_audit.seeds import rng_of, seed_of

ATTACKS = ("loss_mean", "minkpp", "lira_online", "rmia")
"""Attacks of the real pass: one of each kind of signal, including the community's shadow models."""
STRENGTHS = (0.03, 0.1, 0.3)
"""Standard deviations by which a planted leak raises a member's score."""
NOTE = (
    f"Real pass: stored signals of a small run with redrawn labels, attacks {', '.join(ATTACKS)} "
    "(those with stored signals; in the inclusion game, which has no shadow models, lira_online "
    "gives no score). Tests: share of audits and attacks with p <= 0.05, uncorrected. Verdicts: "
    "share of audits with any. The paper's game never says leaks."
)
AUDIT_COLUMNS = (
    *("what", "source", "game", "audits"),
    *("clustered test rejects", "item-level test rejects", "leaks", "confounded"),
)
BOUND_COLUMNS = (
    *("mechanism", "estimator", "true ε", "bounds"),
    *("mean bound", "highest", "of at most", "above 0", "above the truth", "AUC"),
)
SHIFT = 0.5
"""Standard deviations of a selection shift, under every model."""
EPSILONS = (0.0, 0.5, 1.0, 2.0, 4.0)
MECHANISMS: tuple[tuple[str, str, Callable[..., Bound], tuple[int, int]], ...] = (
    ("randomised response of items, 8 sharers, 6 v 6", "pairs", item_response, (8, 6)),
    ("randomised response of items, 50 sharers, 8 v 8", "pairs", item_response, (50, 8)),
    ("randomised response of coins, 25 targets of 8", "coins", coin_response, (25, 8)),
    ("Gaussian shift of coins, δ 1e-5, 25 targets of 8", "coins", coin_shift, (25, 8)),
)
"""What publishes, the estimator, how it is simulated, and its size."""
ALPHA = 0.05
WORLD = {"users": 26, "adapt": 2, "targets": 6, "history": (14, 16), "queries": 1, "clusters": 6}
SMALL = ("clusters=10", "min_history=4", "heldout=0.4", "max_new=2", "prime.k=4", "prime.budget=5")


@dataclass(frozen=True, kw_only=True)
class Audits:
    """Audits of one kind with one known answer."""

    what: str
    """``null``, ``selection shift`` (no leak either), or ``leak D`` (standard deviations)."""
    source: str
    """``simulated``, or ``real pass`` with redrawn labels and the attacks' names."""
    game: str
    audits: int
    clustered: float
    """Share of audits and attacks in which the clustered permutation test, uncorrected, rejects at α = 0.05."""
    naive: float
    """The same for the item-level Mann-Whitney test."""
    leaks: float
    """Share of audits in which the verdict of an attack is ``leaks``: false alarms without a leak, else power."""
    confounded: float
    """Share of audits in which the verdict of an attack is ``confounded``."""


@dataclass(frozen=True)
class Examination:
    """The counts."""

    seed: int
    audits: tuple[Audits, ...]
    bounds: tuple[Bounds, ...]
    left_out: tuple[str, ...]
    """Installed games that are not examined: they have no ``redraw``."""
    command: str

    def to_json(self) -> str:
        """Return everything as JSON."""
        return json.dumps(asdict(self), indent=2, allow_nan=False)

    def tables(self) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
        """Return (headers, rows) of both tables, as texts."""
        audits, bounds = [_audit_row(a) for a in self.audits], [_bound_row(b) for b in self.bounds]
        return [(AUDIT_COLUMNS, audits), (BOUND_COLUMNS, bounds)]

    def markdown(self) -> str:
        """Return a page with both tables and the command that repeats it."""
        from tabulate import tabulate

        tables = [
            tabulate(rows, headers, tablefmt="pipe", disable_numparse=True) for headers, rows in self.tables()
        ]
        out = [f"Not examined, without `redraw`: {', '.join(self.left_out)}."] if self.left_out else []
        return "\n\n".join(["# Calibration of the auditor", f"`{self.command}`", NOTE, *out, *tables]) + "\n"


def calibrate(
    *,
    nulls: int = 200,
    seed: int = 0,
    dp_modules: int = 0,
    run: Path | None = None,
    out: Path | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> Examination:
    """Calibrate the auditor with ``nulls`` audits of each kind; write ``calibration.{json,md}`` to ``out``, if given.

    ``dp_modules``: modules trained at ε 1, at ε 8 and without noise, each so many; 0 trains none. ``run``: a finished
    run whose stored signals are the real pass, by default one of a small world. The same seed gives the same files on
    the same machine. UserError where ``nulls`` is too small, ``run`` merges no sharers, or ``out`` cannot be written.
    """
    if nulls < 1 or dp_modules < 0:
        raise UserError(f"--nulls {nulls}, --dp-modules {dp_modules}: pass at least 1 null and 0 modules")
    left_out = tuple(name for name in available("game") if load_game(name).redraw is None)
    if left_out:
        note(f"not examined, without redraw: {', '.join(left_out)}")
    note("real pass")
    exam = _exam(run, seed)
    note("audits")
    counted = [*_audits(exam, nulls, seed)]
    note("bounds of simulated mechanisms")
    bounds = _mechanisms(nulls, seed)
    if dp_modules:
        from prime_audit.calibration.calibrate_dp import dp_bounds

        bounds += dp_bounds(dp_modules, seed, note)
    command = f"prime-audit calibrate --nulls {nulls} --dp-modules {dp_modules} --seed {seed}"
    command += f" --run {run}" if run else ""
    found = Examination(seed, tuple(counted), tuple(bounds), left_out, command)
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


def _audits(exam: Exam, count: int, seed: int) -> Iterable[Audits]:
    """Audit without a leak, then with planted ones."""
    games = [game for name in available("game") if (game := load_game(name)).redraw is not None]
    # On models as deployed: no coins, no items of the targets' own.
    deployed = [game for game in games if queries_of(game) is Queries]
    for game in deployed:
        yield _simulated("null", game, count, seed)
    attacks = [load_attack(name) for name in ATTACKS]
    attacks = [a for a in attacks if not exam.lacking(a.needs, [Queries.name])]
    source = f"real pass, {len(attacks)} attacks"
    for game in games:

        def again(rng: np.random.Generator, own: int, game: Game = game) -> list[Outcome]:
            return redrawn(exam, attacks, game, rng, own)

        yield _count("null", source, game.name, count, seed, again)
    for game in games:
        if not game.design.randomised:
            yield _simulated("selection shift", game, count, seed, shift=SHIFT)
    for game in deployed:
        for strength in STRENGTHS:
            yield _simulated(f"leak {strength:g}", game, count, seed, strength=strength)


def _simulated(
    what: str, game: Game, count: int, seed: int, *, strength: float = 0.0, shift: float = 0.0
) -> Audits:
    def make(rng: np.random.Generator, own: int) -> list[Outcome]:
        return [outcome(simulated(game, rng, strength, shift), own)]

    return _count(what, "simulated", game.name, count, seed, make)


def _count(
    what: str,
    source: str,
    game: str,
    count: int,
    seed: int,
    make: Callable[[np.random.Generator, int], list[Outcome]],
) -> Audits:
    own = seed_of(seed, "calibrate", what, game)
    audits = [make(rng, own + n) for n, rng in enumerate(trials(count, own))]
    found = [one for audit in audits for one in audit]
    return Audits(
        what=what,
        source=source,
        game=game,
        audits=count,
        clustered=float(np.mean([o.p <= ALPHA for o in found])),
        naive=float(np.mean([o.naive <= ALPHA for o in found])),
        leaks=float(np.mean([any(o.verdict == "leaks" for o in audit) for audit in audits])),
        confounded=float(np.mean([any(o.verdict == "confounded" for o in audit) for audit in audits])),
    )


def _mechanisms(count: int, seed: int) -> list[Bounds]:
    """Bound every mechanism at every ε, each at its size."""
    rng, found = rng_of(seed, "calibrate", "mechanisms"), list[Bounds]()
    for mechanism, estimator, make, size in MECHANISMS:
        for epsilon in EPSILONS:
            bounds = [make(epsilon, *size, rng) for _ in range(count)]
            found.append(Bounds.of(bounds, epsilon, mechanism=mechanism, estimator=estimator))
    return found


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
    shares = [f"{100 * x:.1f} %" for x in (a.clustered, a.naive, a.leaks, a.confounded)]
    if not load_game(a.game).design.randomised:
        shares[2] = "–"
    return (a.what, a.source, a.game, str(a.audits), *shares)


def _bound_row(b: Bounds) -> tuple[str, ...]:
    epsilon = "none" if b.epsilon is None else f"{b.epsilon:.3g}"
    figures = (f"{b.mean:.3f}", f"{b.highest:.3f}", f"{b.ceiling:.2f}")
    over = f"{b.exceed}" if b.epsilon is not None else "–"
    auc = "–" if b.auc is None else f"{b.auc:.3f}"
    return (b.mechanism, b.estimator, epsilon, str(b.bounds), *figures, str(b.shown), over, auc)
