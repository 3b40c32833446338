"""Anyone's scores: read a file of them, and report all that they can carry (``prime-audit stats``).

The judge of a run computes every figure.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from prime_audit.audit.auc import FPRS, FloatArray, IntArray
from prime_audit.audit.bounds import Bound, empirical_epsilon
from prime_audit.audit.design import Dealt, Design, Unit
from prime_audit.audit.intervals import Over
from prime_audit.audit.judge import Entry, Judged, Scored, judge_all
from prime_audit.audit.mean_auc import TargetScores
from prime_audit.audit.permutation import PERMUTATIONS, holm, naive_item_p, unit_of
from prime_audit.errors import UserError
from prime_audit.plugins import Game
from prime_audit.plugins.loading import known_game
from prime_audit.scores.rows import Group, read_scores

_SURE = 0.05
"""A p-value as low is reported as beyond chance."""
_UNNAMED = {
    "target": "no sharers are named: a target's items count as one person's",
    "item": "no sharers or targets are named: the rows are taken as independent; if they are not, all is too narrow",
}
_TRIALS: dict[Unit, str] = {
    "item-within-sharer": "a pair of one sharer's items",
    "sharer": "a pair of sharers",
    "item": "a pair of items that the same targets list",
}
_COIN = "a coin of one target and sharer"


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
    p_adjusted: float | None
    """The same, corrected over all attacks and methods of its task and game."""
    p_reversed: float | None
    """Permutation p-value against the score's direction."""
    p_reversed_adjusted: float | None
    """The same, corrected as ``p_adjusted``."""
    turn: str = field(compare=False)
    """How to turn the sign of the scores."""
    unit: Unit
    """What the permutation test relabelled."""
    relabellings: int | None
    """How many relabellings; fewer than asked for where the data are large."""
    p_naive: float
    """Item-level Mann-Whitney p-value, as if all rows were independent: for comparison only."""
    finest: Literal["sharer", "target", "item"]
    """The finest unit that the file names."""
    trials: str
    """What counts as one trial for ε."""
    epsilon: Bound | None
    """Lower bound on ε with its ceiling; the error probability is shared among the attacks of a task, method and
    game."""
    game: str | None
    """The game whose design was followed; None where the file names none that is known."""
    both_classes: int | None
    """Items listed as member and as non-member for one target; None where the file names no items."""
    repeated: int | None
    """Rows whose target, sharer, item and membership another row had before; None where the file names no items."""
    reasons: Mapping[str, str]
    """Figure to why it is None."""


@dataclass(frozen=True)
class ScoresReport:
    """Everything ``describe_scores`` found."""

    source: str
    seed: int
    """Of relabelling and matching."""
    draws: int
    """Relabellings at most, the observed one included."""
    attacks: tuple[Figures, ...]
    """In the file's order."""
    columns: tuple[str, ...] = ()
    """What a reader must know about the file's columns."""
    families: Mapping[str, int] = field(default_factory=dict)
    """Task and game to the number of p-values that were corrected together."""
    apart: tuple[str, ...] = ()
    """Those whose attacks and methods could not share relabellings; Holm corrected them."""

    def headers(self) -> tuple[str, ...]:
        """Return the heads of :meth:`rows`."""
        tprs = tuple(f"TPR@{100 * fpr:g}%" for fpr in FPRS)
        return (
            "attack",
            "n",
            "members",
            "AUC",
            "95 % interval",
            *tprs,
            "p",
            "p (adjusted)",
            "ε ≥",
            "of at most",
        )

    def rows(self) -> list[tuple[str, ...]]:
        """Return one row of a table for each attack; :meth:`notes` gives the reason for each –."""
        return [
            (
                f.attack,
                f"{f.n}",
                f"{f.members}",
                f"{f.auc:.4f}",
                f"{f.ci[0]:.4f} – {f.ci[1]:.4f}" if f.ci else "–",
                *(_cell(value, ".4f") for value in f.tpr.values()),
                _cell(f.p, ".4g"),
                _cell(f.p_adjusted, ".4g"),
                _cell(f.epsilon.value if f.epsilon else None, ".4f"),
                _cell(f.epsilon.ceiling if f.epsilon else None, ".4f"),
            )
            for f in self.attacks
        ]

    def notes(self) -> list[str]:
        """Return what a reader of the table must know, each once."""
        lines = [*self.columns]
        for family, tests in self.families.items():
            if tests > 1:
                named = f" of {family}" if family else ""
                lines.append(
                    f"p (adjusted) is corrected over the {tests} attacks and methods{named} together"
                )
                if family in self.apart:
                    lines.append(
                        f"the attacks and methods{named} have other rows and no ids, or no relabelling in common: "
                        "p (adjusted) is Holm's, which is higher than need be"
                    )
        for f in self.attacks:
            lines.append(f"interval over {f.over}; p relabels {f.unit}; ε counts one trial for {f.trials}")
            if f.finest != "sharer":
                lines.append(_UNNAMED[f.finest])
            if f.epsilon and not f.game:
                lines.append("ε holds only where membership was drawn at random")
            if f.left_out:
                lines.append(f"{f.attack}: {f.left_out} targets with one side only left out")
            if f.p_reversed_adjusted is not None and f.p_reversed_adjusted <= _SURE and f.auc < 0.5:
                limits = f" [{f.ci[0]:.4f}, {f.ci[1]:.4f}]" if f.ci else ""
                lines.append(
                    f"{f.attack}: AUC {f.auc:.4f}{limits} is below ½ beyond chance (p = {f.p_reversed_adjusted:.4g} "
                    "for an AUC this low, corrected as p (adjusted)). Higher must mean member. If this score is higher "
                    f"for non-members, such as a loss, {f.turn}. Decide by what the score is, not by its AUC"
                )
            if f.ci and f.ci[0] == f.ci[1]:
                lines.append(
                    f"{f.attack}: the interval has no width: these items show no variation; others may give another AUC"
                )
            if f.both_classes:
                lines.append(f"{f.attack}: {f.both_classes} items are listed as member and as non-member")
            if f.repeated:
                lines.append(
                    f"{f.attack}: {f.repeated} of {f.n} rows repeat an earlier row's target, sharer, item and member: "
                    "p may be too small and the interval too narrow; give each item once"
                )
        lines += self._reasons()
        return list(dict.fromkeys(lines))

    def _reasons(self) -> list[str]:
        """Return each reason for a –, with its figures and the attacks it concerns."""
        found: dict[tuple[str, str], list[str]] = {}
        for f in self.attacks:
            for figure, why in f.reasons.items():
                found.setdefault((figure, why), []).append(f.attack)
        lines = []
        for (figure, why), attacks in found.items():
            if len(self.attacks) == 1:
                of = ""
            else:
                of = (
                    f" ({attacks[0]})"
                    if len(attacks) == 1
                    else f" ({len(attacks)} of {len(self.attacks)} attacks)"
                )
            lines.append(f"{figure}: {why}{of}")
        return lines

    def to_json(self) -> str:
        """Write the report as JSON; it never holds NaN."""
        return json.dumps(_plain(asdict(self)), indent=1, ensure_ascii=False, allow_nan=False)


def describe_scores(
    path: str | Path,
    seed: int = 0,
    draws: int = PERMUTATIONS + 1,
    plugins: Sequence[Path] = (),
    *,
    columns: str | Mapping[str, str] | None = None,
) -> ScoresReport:
    """Read scores and compute all figures they carry.

    ``path`` is a table: CSV, TSV, JSON Lines (as a run's scores.jsonl), a JSON list or Parquet, compressed or not.
    Columns ``score`` (higher = member) and ``member`` (1/0, true/false); optional ``attack``, ``target``, ``sharer``,
    ``item``, ``task``, ``method``, ``game``. ``columns`` gives the file's own names, ``score=s,member=label``;
    ``score=loss+minkp`` takes each column as an attack, and ``score=-loss`` turns the sign.
    Without sharers a target's items count as one person's; without either, as independent. ``draws``: relabellings
    at most. ``plugins``: files with games; a game that is neither installed nor among them has no
    design, and its ε a note. UserError for a missing column, a score or membership that is none, an attack with one
    class only.
    """
    if draws < 2:
        raise UserError(
            f"draws is {draws}: a permutation test needs the data and at least one relabelling; give 2 or more"
        )
    groups, notes = read_scores(Path(path), columns)
    asked = _asked(Path(path), groups, tuple(plugins))
    families: dict[str, list[_Asked]] = {}
    for one in asked:
        family = "/".join(name for name in (one.group.task, one.group.game) if name is not None)
        families.setdefault(family, []).append(one)
    attacks = Counter((group.task, group.method, group.game) for group in groups)
    found: dict[int, Figures] = {}
    sizes, apart = dict[str, int](), list[str]()
    for family, own in families.items():
        together, judged = _judged(own, seed, draws)
        figures = [
            _figures(one, j, together, attacks[one.group.task, one.group.method, one.group.game], seed)
            for one, j in zip(own, judged, strict=True)
        ]
        if not together:
            apart.append(family)
            figures = _by_holm(figures)
        found |= {id(one): f for one, f in zip(own, figures, strict=True)}
        sizes[family] = sum(f.p is not None for f in figures)
    return ScoresReport(
        str(path), seed, draws, tuple(found[id(one)] for one in asked), tuple(notes), sizes, tuple(apart)
    )


@dataclass(frozen=True, eq=False)
class _Asked:
    """One attack's scores as a game."""

    group: Group
    game: Game | None
    dealt: Sequence[Dealt]
    scores: Mapping[str, FloatArray]
    design: Design


def _asked(path: Path, groups: Sequence[Group], plugins: tuple[Path, ...]) -> list[_Asked]:
    """Deal every group's games; groups of the same rows share one."""
    found: list[_Asked] = []
    for group in groups:
        members = int(group.members.sum())
        if members in (0, group.members.size):
            side = "members" if members else "non-members"
            raise UserError(
                f"{path}: {group.name}: all {group.members.size} items are {side}; an AUC needs both"
            )
        places = _places(group)
        twin = next((one for one in found if _same_rows(one.group, group)), None)
        dealt = twin.dealt if twin else _dealt(group, places)
        if not any(d.playable for d in dealt):
            raise UserError(
                f"{path}: {group.name}: no target has both members and non-members; give every target both, or leave "
                "out its column"
            )
        scores = {target: group.scores[rows] for target, rows in places.items()}
        game, named = known_game(group.game, plugins), group.sharers is not None
        design = _design(game, [d.panel(scores[d.target]) for d in dealt], named)
        found.append(_Asked(group, game, dealt, scores, design))
    return found


def _same_rows(one: Group, other: Group) -> bool:
    return bool(
        np.array_equal(one.members, other.members)
        and one.targets == other.targets
        and one.sharers == other.sharers
        and one.items == other.items
    )


def _judged(family: Sequence[_Asked], seed: int, draws: int) -> tuple[bool, list[Judged]]:
    """Judge the attacks and methods of a task and game -> whether all together, and their figures.

    That takes the same rows in each, or items with ids; otherwise relabellings cannot be shared.
    """
    entries = [
        Entry(
            dealt=one.dealt,
            scored=[Scored(attack=one.group.attack, scores=one.scores, undefined=0, controls={})],
        )
        for one in family
    ]
    effort = {"seed": seed, "permutations": draws - 1}
    first = family[0]
    same = all(one.dealt is first.dealt for one in family)
    named = all(one.group.items is not None for one in family)
    if all(one.design == first.design for one in family) and (same or named):
        together = [own[0] for own in judge_all(first.design, entries, **effort)]
        if same or all(j.tests for j in together):
            return True, together
    single = [
        judge_all(one.design, [entry], **effort)[0][0] for one, entry in zip(family, entries, strict=True)
    ]
    return False, single


def _by_holm(found: Sequence[Figures]) -> list[Figures]:
    """Correct p by Holm's method."""
    known = [f for f in found if f.p is not None]
    adjusted = holm([f.p for f in known if f.p is not None])
    turned = holm([1.0 if f.p_reversed is None else f.p_reversed for f in known])
    by = {id(f): ps for f, ps in zip(known, zip(adjusted, turned, strict=True), strict=True)}
    return [
        replace(f, p_adjusted=by[id(f)][0], p_reversed_adjusted=by[id(f)][1]) if id(f) in by else f
        for f in found
    ]


def _figures(asked: _Asked, found: Judged, together: bool, attacks: int, seed: int) -> Figures:
    """``attacks`` share one error probability for ε."""
    group, game, dealt, design = asked.group, asked.game, asked.dealt, asked.design
    named, tests = group.sharers is not None, found.tests
    epsilon, reasons = found.epsilon, dict(found.reasons)
    if why := _uncounted(game, group, dealt, design):
        epsilon, reasons["ε"] = None, why
    elif epsilon and attacks > 1:
        epsilon = empirical_epsilon(design, dealt, asked.scores, None, attacks=attacks, seed=seed)
    both, repeated = _repeats(group) if group.items is not None else (None, None)
    return Figures(
        attack=group.name,
        n=group.members.size,
        members=int(group.members.sum()),
        targets=len(found.panels),
        left_out=len(dealt) - len(found.panels),
        sharers=len(set(group.sharers)) if group.sharers is not None else None,
        auc=found.estimate.value,
        ci=found.estimate.ci,
        over=found.over,
        tpr=found.tpr,
        p=tests.p_auc if tests else None,
        p_adjusted=tests.adjusted_auc if tests and together else None,
        p_reversed=tests.p_reversed if tests else None,
        p_reversed_adjusted=tests.adjusted_reversed if tests and together else None,
        relabellings=tests.n if tests else None,
        turn=group.turn,
        unit=design.unit,
        p_naive=naive_item_p(found.panels),
        finest="sharer" if named else "item" if group.targets is None else "target",
        trials=_COIN if design.whole else _TRIALS[design.unit],
        epsilon=epsilon,
        game=game.name if game else None,
        both_classes=both,
        repeated=repeated,
        reasons=reasons,
    )


def _uncounted(game: Game | None, group: Group, dealt: Sequence[Dealt], design: Design) -> str | None:
    """Say why the rows do not show what one trial for ε is; None where they do."""
    if game and game.design.whole and group.sharers is None:
        return "no sharers are named: this game's coins are thrown for sharers"
    if not design.of_people and (again := sum(_repeats(group))):
        return f"{again} rows repeat an item of their target and sharer: give each item once, with its own id"
    if group.items is not None:
        return None
    if design.unit == "item" and len(dealt) > 1 and not (game and game.design.unit == "item"):
        return "several targets, and no column names the items: whether targets share items is not known"
    if design.unit != "item-within-sharer":
        return None
    lists: dict[str, set[tuple[bool, ...]]] = {}
    for one in dealt:
        own: dict[str, list[bool]] = {}
        for sharer, member in zip(one.owners, one.members.tolist(), strict=True):
            own.setdefault(sharer, []).append(member)
        for sharer, members in own.items():
            lists.setdefault(sharer, set()).add(tuple(members))
    if all(len(one) == 1 for one in lists.values()):
        return None
    return "targets list different items of a sharer, and no column names the items"


def _places(group: Group) -> dict[str, IntArray]:
    """Sort rows by target."""
    if group.targets is None:
        return {"": np.arange(group.members.size)}
    by_target: dict[str, list[int]] = {}
    for row, target in enumerate(group.targets):
        by_target.setdefault(target, []).append(row)
    return {target: np.array(rows) for target, rows in by_target.items()}


def _dealt(group: Group, places: Mapping[str, IntArray]) -> list[Dealt]:
    """Every target's game. Without sharers its items are its own; without either, each a person's."""
    dealt = []
    for target, rows in places.items():
        own = rows.tolist()
        if group.sharers is not None:
            owners = [group.sharers[row] for row in own]
        else:
            owners = [target or f"row {n}" for n in range(rows.size)]
        items = [group.items[row] for row in own] if group.items is not None else None
        seen: dict[str, int] = {}
        place = []
        for owner in owners:
            place.append(seen.get(owner, 0))
            seen[owner] = place[-1] + 1
        members = group.members[rows]
        dealt.append(
            Dealt(
                target=target,
                rows=np.array(place, dtype=np.int64),
                members=members,
                owners=owners,
                items=items,
            )
        )
    return dealt


def _design(game: Game | None, panels: Sequence[TargetScores], named: bool) -> Design:
    """Take the named game's design; otherwise, as if membership was drawn. The unit is what the rows allow."""
    known = game.design if game else Design(unit="item", randomised=True)
    if not named:
        return replace(known, unit="item", whole=False)
    return known if known.whole else replace(known, unit=unit_of(panels))


def _repeats(group: Group) -> tuple[int, int]:
    """Count the items that one target lists on both sides, and the rows that repeat an item on one.

    Where sharers are named, an id is the sharer's own. Without ids none repeats.
    """
    if group.items is None:
        return 0, 0
    nobody = [None] * group.members.size
    ids = list(zip(group.targets or nobody, group.sharers or nobody, group.items, strict=True))
    inside = {one for one, member in zip(ids, group.members.tolist(), strict=True) if member}
    outside = {one for one, member in zip(ids, group.members.tolist(), strict=True) if not member}
    return len(inside & outside), len(ids) - len(inside) - len(outside)


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _plain(value: Any) -> Any:
    """JSON types; an infinite number (a threshold among infinite scores) becomes its name."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value
