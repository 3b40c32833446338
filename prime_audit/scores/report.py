"""Anyone's scores: read a file of them, and say all that they can carry (``prime-audit stats``)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from prime_audit.audit.auc import FPRS, Undefined
from prime_audit.audit.intervals import Over, auc_interval, mean_tpr
from prime_audit.audit.panels import Panel
from prime_audit.audit.permutation import Permutation, Unit, holm, naive_item_p, permutation_test, unit_of
from prime_audit.audit.splitting import EpsilonBound, split_epsilon
from prime_audit.errors import UserError
from prime_audit.games.bounds import EXCHANGE, by_sharer
from prime_audit.games.deal import GAMES, Dealt, Game
from prime_audit.scores.rows import Row, read_scores

_UNNAMED = {
    "target": "no column sharer: a target's items count as one person's",
    "item": "no column sharer or target: the rows are taken as independent, and where they are not, all is too narrow",
}


@dataclass(frozen=True)
class Figures:
    """All that one attack's scores carry; a figure they do not carry is None and has its reason."""

    attack: str
    """The attack, with task, method and game where the file names them."""
    n: int
    """Scores."""
    members: int
    """Of them members."""
    targets: int
    """Targets with members and non-members; the AUC is their mean."""
    left_out: int
    """Targets with one side only."""
    sharers: int | None
    """Distinct sharers; None where the file names none."""
    auc: float
    """Mean over targets of the area under the ROC curve, ties as ½."""
    ci: tuple[float, float] | None
    """95 % interval."""
    over: Over
    """What the interval takes as independent."""
    tpr: Mapping[str, float | None]
    """False-positive rate to true-positive rate, mean over targets."""
    p: float | None
    """One-sided permutation p-value."""
    p_holm: float | None
    """The same, corrected over the attacks of its family."""
    p_reversed: float | None
    """Permutation p-value against the score's direction."""
    unit: Unit
    """What the permutation test relabelled; without sharers, items within a target."""
    p_naive: float
    """Item-level Mann-Whitney p-value, as if all rows were independent: for comparison only."""
    trials: Literal["sharer", "target", "item"]
    """What counts as one independent trial for ε: the finest unit the file names."""
    epsilon: EpsilonBound | None
    """Lower bound on ε by sample splitting, with its ceiling."""
    game: str | None
    """The suite's game whose rules were followed; None where the file names none of them."""
    both_classes: int | None
    """Items listed as member and as non-member for one target; None where the file names no items."""
    reasons: Mapping[str, str]
    """Figure to why it is None."""


@dataclass(frozen=True)
class ScoresReport:
    """Everything ``describe_scores`` found."""

    source: str
    """The file."""
    seed: int
    """Of resampling, relabelling and splitting."""
    draws: int
    """Bootstrap draws, and relabellings."""
    attacks: tuple[Figures, ...]
    """In the file's order."""

    def headers(self) -> tuple[str, ...]:
        """Return the heads of :meth:`rows`."""
        tprs = tuple(f"TPR@{100 * fpr:g}%" for fpr in FPRS)
        return ("attack", "n", "AUC", "95 % interval", *tprs, "p", "p (Holm)", "ε ≥", "of at most")

    def rows(self) -> list[tuple[str, ...]]:
        """Return one row of a table for each attack; – stands where :meth:`notes` says why."""
        return [
            (
                f.attack,
                f"{f.n} ({f.members} members)",
                f"{f.auc:.4f}",
                f"{f.ci[0]:.4f} – {f.ci[1]:.4f}" if f.ci else "–",
                *(_cell(value, ".4f") for value in f.tpr.values()),
                _cell(f.p, ".4g"),
                _cell(f.p_holm, ".4g"),
                _cell(f.epsilon.value if f.epsilon else None, ".4f"),
                _cell(f.epsilon.ceiling if f.epsilon else None, ".4f"),
            )
            for f in self.attacks
        ]

    def notes(self) -> list[str]:
        """Return what a reader of the table must know, each once."""
        lines = []
        for f in self.attacks:
            lines.append(
                f"interval over {f.over}; p relabels {f.unit}; ε counts one trial a side of each {f.trials}"
            )
            if f.trials != "sharer":
                lines.append(_UNNAMED[f.trials])
            if f.epsilon and not f.game:
                lines.append(
                    "ε holds only where membership was drawn at random; where a fixed number was drawn, that of adding "
                    "one item is half of it"
                )
            lines += [f"{f.attack}: {figure}: {why}" for figure, why in f.reasons.items()]
            if f.left_out:
                lines.append(f"{f.attack}: {f.left_out} targets with one side only left out")
            if f.both_classes:
                lines.append(f"{f.attack}: {f.both_classes} items are listed as member and as non-member")
        return list(dict.fromkeys(lines))

    def to_json(self) -> str:
        """Write the report as JSON; it never holds NaN."""
        return json.dumps(_plain(asdict(self)), indent=1, ensure_ascii=False, allow_nan=False)


def describe_scores(path: str | Path, seed: int = 0, draws: int = 1000) -> ScoresReport:
    """Read scores and compute all figures they carry.

    Parameters
    ----------
    path
        CSV with a head, or JSONL (``.jsonl``, as a run's scores.jsonl). Columns ``score`` (higher = member) and
        ``member`` (0/1, true/false); optional ``attack``, ``target``, ``sharer``, ``item``, ``task``, ``method``,
        ``game``. Without sharers a target's items count as one person's; without either, as independent.
    seed
        The same file and seed give the same report.
    draws
        Bootstrap draws and relabellings.

    Raises
    ------
    UserError
        On a missing column, a score or membership that is none, and an attack with one class only.
    """
    groups: dict[tuple[tuple[str, ...], str], list[Row]] = {}
    for row in read_scores(Path(path)):
        groups.setdefault((row.family, row.attack), []).append(row)
    found = {key: _figures(Path(path), key, rows, seed, draws) for key, rows in groups.items()}
    for family in dict.fromkeys(family for family, _ in found):
        tested = [key for key, f in found.items() if key[0] == family and f.p is not None]
        adjusted = holm([p for key in tested if (p := found[key].p) is not None])
        for key, p_holm in zip(tested, adjusted, strict=True):
            found[key] = Figures(**{**vars(found[key]), "p_holm": p_holm})
    return ScoresReport(str(path), seed, draws, tuple(found.values()))


def _figures(
    path: Path, key: tuple[tuple[str, ...], str], rows: Sequence[Row], seed: int, draws: int
) -> Figures:
    name = "/".join([*key[0], key[1]])
    members = sum(row.member for row in rows)
    if members in (0, len(rows)):
        side = "members" if members else "non-members"
        raise UserError(f"{path}: {name}: all {len(rows)} items are {side}; an AUC needs both")
    by_target: dict[str, list[Row]] = {}
    for row in rows:
        by_target.setdefault(row.target, []).append(row)
    game = GAMES.get(rows[0].game or "")
    panels = [_panel(target, own) for target, own in by_target.items()]
    if game and game.whole and rows[0].sharer is not None:
        panels = [_averaged(panel) for panel in panels]
    try:
        interval = auc_interval(panels, n=draws, seed=seed)
    except Undefined as reason:
        raise UserError(
            f"{path}: {name}: {reason}; give every target both, or leave out its column"
        ) from None
    reasons: dict[str, str] = {} if interval.estimate.ci else {"interval": str(interval.estimate.reason)}
    named = rows[0].sharer is not None
    unit: Unit = unit_of(panels) if named else "item-within-sharer"
    ids = None
    if rows[0].item and unit != "sharer":
        ids = [[row.item for row in own] for own in by_target.values()]
    test = _test(panels if named else _unowned(panels), unit, ids, seed, draws, reasons)
    return Figures(
        attack=name,
        n=len(rows),
        members=members,
        targets=len(interval.estimate.per_target),
        left_out=len(interval.estimate.left_out),
        sharers=len({row.sharer for row in rows}) if named else None,
        auc=interval.estimate.value,
        ci=interval.estimate.ci,
        over=interval.over,
        tpr={f"{fpr:g}": _tpr(panels, fpr, reasons) for fpr in FPRS},
        p=test.p if test else None,
        p_holm=None,
        p_reversed=test.p_reversed if test else None,
        unit=unit,
        p_naive=naive_item_p(panels),
        trials="sharer" if named else "target" if rows[0].target else "item",
        epsilon=_epsilon(panels, game, seed, reasons),
        game=game.name if game else None,
        both_classes=_both_classes(rows) if rows[0].item is not None else None,
        reasons=reasons,
    )


def _panel(target: str, rows: Sequence[Row]) -> Panel:
    """One target's game; without sharers its items are the target's own, without either each is somebody else's."""
    owners = [row.sharer or target or f"row {n}" for n, row in enumerate(rows)]
    scores, members = [row.score for row in rows], [row.member for row in rows]
    return Panel(target, np.array(scores), owners, np.array(members))


def _unowned(panels: Sequence[Panel]) -> list[Panel]:
    """Without sharers all items of a target may exchange membership."""
    return [Panel(p.target, p.scores, [p.target] * p.scores.size, p.members) for p in panels]


def _test(
    panels: Sequence[Panel],
    unit: Unit,
    items: Sequence[Sequence[str | None]] | None,
    seed: int,
    draws: int,
    reasons: dict[str, str],
) -> Permutation | None:
    try:
        return permutation_test(panels, unit=unit, n=draws - 1, seed=seed, items=items)
    except Undefined as reason:
        reasons["p"] = str(reason)
        return None


def _tpr(panels: Sequence[Panel], fpr: float, reasons: dict[str, str]) -> float | None:
    try:
        return mean_tpr(panels, fpr)
    except Undefined as reason:
        reasons[f"TPR@{100 * fpr:g}%"] = str(reason)
        return None


def _averaged(panel: Panel) -> Panel:
    """Score each sharer by the mean of her items, as games do whose members are whole sharers."""
    dealt = Dealt(panel.target, np.arange(panel.scores.size), panel.members, panel.sharers)
    whole, means = by_sharer(dealt, panel.scores)
    return Panel(panel.target, means, whole.owners, whole.members)


def _epsilon(
    panels: Sequence[Panel], game: Game | None, seed: int, reasons: dict[str, str]
) -> EpsilonBound | None:
    """Bound ε as a run does where the file names the suite's game; of other rows, as if membership was drawn."""
    if game and not game.randomised:
        reasons["ε"] = "membership was selected, not drawn: success proves nothing about ε"
        return None
    if game and game.whole:
        reasons["ε"] = (
            "coins are bounded together, with the unmerged base's scores: the run's record holds it"
        )
        return None
    try:
        found = split_epsilon(panels, seed=seed)
    except Undefined as reason:
        reasons["ε"] = str(reason)
        return None
    return replace(found, value=found.value / EXCHANGE, ceiling=found.ceiling / EXCHANGE) if game else found


def _both_classes(rows: Sequence[Row]) -> int:
    """Count the items that one target lists on both sides; where sharers are named, an id is her own."""
    inside = {(row.target, row.sharer, row.item) for row in rows if row.member}
    return len(inside & {(row.target, row.sharer, row.item) for row in rows if not row.member})


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _plain(value: Any) -> Any:
    """JSON types; an infinite number (a threshold among infinite scores) becomes its name."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value
