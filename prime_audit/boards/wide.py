"""What a board's verdicts mean over the whole board: q of every cell, and the findings that only a record shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from prime_audit.audit.board import Looks, board_wide
from prime_audit.audit.jackknife import firm_p
from prime_audit.audit.verdict import ALPHA
from prime_audit.boards.filed import Filed
from prime_audit.record import Leak
from prime_audit.report.sheet import PanelRow, judged

HERE = {
    "leaks": "leaks here, not board-wide",
    "leaks, already in the base": "leaks here (already in the base), not board-wide",
}
"""A record's verdict → what is shown where the board does not call its cell."""
CALLED = {
    "leaks": "leaks board-wide",
    "leaks, already in the base": "leaks board-wide, already in the base",
}
"""What the board calls a cell → what is shown where its record does not say so."""
Cell = tuple[str, str, str, str]
"""Task, method, game, attack."""


@dataclass(frozen=True)
class Wide:
    """A board's families."""

    q: dict[Cell, tuple[float, float]]
    """Cell → q of a leak, and of one already in the base; of games whose members were drawn."""
    notes: tuple[str, ...]

    def shown(self, row: PanelRow) -> PanelRow:
        """Return a row as the board shows it: where record and board differ, the verdict says so."""
        leak = row.leak
        found = self.q.get((leak.task, leak.method, leak.game, leak.attack))
        if found is None or not _weighed(row):
            return row
        called = next((word for word, q in zip(CALLED, found, strict=True) if q <= ALPHA), None)
        if called is None and leak.verdict not in HERE:
            return row
        if called == leak.verdict:
            word, q = leak.verdict, found[[*CALLED].index(called)]
        elif called:
            word, q = CALLED[called], found[[*CALLED].index(called)]
        else:
            word, q = HERE[leak.verdict], found[[*HERE].index(leak.verdict)]
        return row._replace(leak=replace(leak, verdict=word, why=f"{leak.why}; board-wide q {q:.3g}"))


def _weighed(row: PanelRow) -> bool:
    """Whether a row's p counts on a board: members were drawn, without signs of selection, and the data are not thin.

    A reason of *confounded* or *too few* that only weighs the figure begins with the AUC (``audit.verdict``); any other
    says why the figure cannot be weighed.
    """
    leak = row.leak
    unfit = leak.verdict in ("confounded", "too few to say") and not leak.why.startswith("AUC ")
    return row.game.drawn and leak.p is not None and not unfit


def widened(filed: Sequence[Filed]) -> Wide:
    """Judge every drawn game's cells together, and say what to expect of them."""
    seeds: dict[Cell, list[tuple[int, PanelRow]]] = {}
    for one in sorted(filed, key=lambda f: f.seed):
        for row in judged(one.record, one.id):
            leak = row.leak
            if _weighed(row):
                seeds.setdefault((leak.task, leak.method, leak.game, leak.attack), []).append((one.seed, row))
    q: dict[Cell, tuple[float, float]] = {}
    notes = list[str]()
    for game in sorted({game for _, _, game, _ in seeds}):
        # Labels that share a model, and attacks that give the same scores, are one cell.
        alike: dict[object, list[Cell]] = {}
        for cell, found in seeds.items():
            if cell[2] == game:
                figures = tuple((seed, x.auc, x.ci, x.p, x.members, x.others) for seed, (x, *_) in found)
                alike.setdefault((cell[0], figures), []).append(cell)
        cells = list(alike.values())
        rows = [[row for _, row in seeds[same[0]]] for same in cells]
        own = board_wide([[_looks(row.leak) for row in seed] for seed in rows], [*map(_over_people, rows)])
        q |= {cell: both for same, both in zip(cells, own, strict=True) for cell in same}
        called = sum(min(both) <= ALPHA for both in own)
        notes.append(
            f"Game {game}: of {len(cells)} cells (one attack on one model in one task, its seeds combined; without "
            "signs of selection and with enough data to test) the board "
            f"calls leaks in {called} (q ≤ {ALPHA:g}); on average at most {ALPHA * called:.2g} of these are false."
        )
    return Wide(q, tuple(notes))


def _looks(leak: Leak) -> Looks:
    return Looks.of(leak.p, leak.p_tail, leak.p_auc, leak.p_base, leak.relabellings, leak.detectable)


def _over_people(seeds: Sequence[PanelRow]) -> float:
    """Return the p over people of a cell's mean gain; 0 in games that do not draw people anew for each target.

    Seeds may share all their people, so the error of the mean is the mean error.
    """
    gaps = [row.gap for row in seeds if row.game.whole]
    if not gaps:
        return 0.0
    known = [(gap.difference, gap.se, gap.freedom) for gap in gaps if gap is not None]
    if len(known) < len(gaps) or any(gain is None or se is None for gain, se, _ in known):
        return 1.0
    gains, errors, freedom = zip(*known, strict=True)
    return firm_p(fmean(gains), fmean(errors), min(freedom))
