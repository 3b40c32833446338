"""Anyone's scores: read a file of them, and report all that they can carry (``prime-audit stats``).

The judge of a run computes every figure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from prime_audit.audit.auc import FPRS, Undefined
from prime_audit.audit.design import Dealt, Design
from prime_audit.audit.intervals import Over
from prime_audit.audit.judge import Scored, judge
from prime_audit.audit.mean_auc import TargetScores
from prime_audit.audit.permutation import Unit, holm, naive_item_p, unit_of
from prime_audit.audit.splitting import Bound
from prime_audit.errors import UserError
from prime_audit.plugins import Game
from prime_audit.plugins.loading import known_game
from prime_audit.scores.rows import Row, read_scores

_UNNAMED = {
    "target": "no column sharer: a target's items count as one person's",
    "item": "no column sharer or target: the rows are taken as independent; if they are not, all is too narrow",
}


@dataclass(frozen=True, kw_only=True)
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
    """One-sided permutation p-value, of the AUC: a file has no base to compare with."""
    p_holm: float | None
    """The same, corrected over the attacks of its family."""
    p_reversed: float | None
    """Permutation p-value against the score's direction."""
    unit: Unit
    """What the permutation test relabelled."""
    p_naive: float
    """Item-level Mann-Whitney p-value, as if all rows were independent: for comparison only."""
    trials: Literal["sharer", "target", "item"]
    """What counts as one independent trial for ε: the finest unit the file names."""
    epsilon: Bound | None
    """Lower bound on ε by sample splitting, with its ceiling."""
    game: str | None
    """The game whose design was followed; None where the file names none that is known."""
    both_classes: int | None
    """Items listed as member and as non-member for one target; None where the file names no items."""
    reasons: Mapping[str, str]
    """Figure to why it is None."""


@dataclass(frozen=True)
class ScoresReport:
    """Everything ``describe_scores`` found."""

    source: str
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
        """Return one row of a table for each attack; :meth:`notes` gives the reason for each –."""
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


def describe_scores(
    path: str | Path, seed: int = 0, draws: int = 1000, plugins: Sequence[Path] = ()
) -> ScoresReport:
    """Read scores and compute all figures they carry.

    ``path`` is CSV with a head, or JSONL (``.jsonl``, as a run's scores.jsonl). Columns ``score`` (higher = member) and
    ``member`` (0/1, true/false); optional ``attack``, ``target``, ``sharer``, ``item``, ``task``, ``method``, ``game``.
    Without sharers a target's items count as one person's; without either, as independent. ``draws``: bootstrap draws
    and relabellings. ``plugins``: files with games; a game that is neither installed nor among them has no
    design, and its ε a note. UserError for a missing column, a score or membership that is none, an attack with one
    class only.
    """
    groups: dict[tuple[tuple[str, ...], str], list[Row]] = {}
    for row in read_scores(Path(path)):
        groups.setdefault((row.family, row.attack), []).append(row)
    found = {
        key: _figures(Path(path), key, rows, known_game(rows[0].game, tuple(plugins)), seed, draws)
        for key, rows in groups.items()
    }
    for family in dict.fromkeys(family for family, _ in found):
        tested = [key for key, f in found.items() if key[0] == family and f.p is not None]
        adjusted = holm([p for key in tested if (p := found[key].p) is not None])
        for key, p_holm in zip(tested, adjusted, strict=True):
            found[key] = replace(found[key], p_holm=p_holm)
    return ScoresReport(str(path), seed, draws, tuple(found.values()))


def _figures(
    path: Path,
    key: tuple[tuple[str, ...], str],
    rows: Sequence[Row],
    game: Game | None,
    seed: int,
    draws: int,
) -> Figures:
    name = "/".join([*key[0], key[1]])
    members = sum(row.member for row in rows)
    if members in (0, len(rows)):
        side = "members" if members else "non-members"
        raise UserError(f"{path}: {name}: all {len(rows)} items are {side}; an AUC needs both")
    by_target: dict[str, list[Row]] = {}
    for row in rows:
        by_target.setdefault(row.target, []).append(row)
    dealt = [_dealt(target, own) for target, own in by_target.items()]
    scores = {target: np.array([row.score for row in own]) for target, own in by_target.items()}
    named = rows[0].sharer is not None
    panels = [d.panel(scores[d.target]) for d in dealt]
    design = _design(game, panels, named)
    one = Scored(attack=key[1], scores=scores, undefined=0, controls={})
    try:
        (found,) = judge(design, dealt, [one], seed=seed, draws=draws, permutations=draws - 1)
    except Undefined as reason:
        raise UserError(
            f"{path}: {name}: {reason}; give every target both, or leave out its column"
        ) from None
    epsilon, reasons = found.epsilon, dict(found.reasons)
    if game and game.design.whole and not named:
        epsilon, reasons["ε"] = None, "no column sharer: this game's coins are thrown for sharers"
    return Figures(
        attack=name,
        n=len(rows),
        members=members,
        targets=len(found.panels),
        left_out=len(dealt) - len(found.panels),
        sharers=len({row.sharer for row in rows}) if named else None,
        auc=found.estimate.value,
        ci=found.estimate.ci,
        over=found.over,
        tpr=found.tpr,
        p=found.p_deciding,
        p_holm=None,
        p_reversed=found.p_reversed,
        unit=design.unit,
        p_naive=naive_item_p(found.panels),
        trials="sharer" if named else "target" if rows[0].target else "item",
        epsilon=epsilon,
        game=game.name if game else None,
        both_classes=_both_classes(rows) if rows[0].item is not None else None,
        reasons=reasons,
    )


def _dealt(target: str, rows: Sequence[Row]) -> Dealt:
    """One target's game. Without sharers its items are the target's own; without either each row is a person's."""
    return Dealt(
        target=target,
        rows=np.arange(len(rows)),
        members=np.array([row.member for row in rows], dtype=np.bool_),
        owners=[row.sharer or target or f"row {n}" for n, row in enumerate(rows)],
        items=[row.item for row in rows] if rows[0].item else None,
    )


def _design(game: Game | None, panels: Sequence[TargetScores], named: bool) -> Design:
    """Take the named game's design; otherwise, as if membership was drawn. The unit is what the rows allow."""
    known = game.design if game else Design(unit="item", randomised=True, fixed=False)
    if not named:
        return replace(known, unit="item", whole=False)
    return known if known.whole else replace(known, unit=unit_of(panels))


def _both_classes(rows: Sequence[Row]) -> int:
    """Count the items that one target lists on both sides; where sharers are named, an id is the sharer's own."""
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
