"""The small vocabulary that claims are written in, and what becomes of each statement on the cells.

===============  ====================================================================================================
``gain``         one cell's relative improvement ``of`` … ``over`` … is ``percent``
``largest``      the largest relative improvement of cells ``of`` over those ``over`` is ``percent`` ("up to")
``compare``      cells ``of`` are in ``relation`` to those ``over``, or to the one before ``along`` a parameter
``tradeoff``     rows ``of`` are better than ``over`` in every metric at once
``gains``        improvements ``of``/``over`` are larger (or smaller) than those ``than``
``marks``        bold marks the best and underline the second best of each column of ``tables``, ``without`` some cores
``spread``       standard errors of ``of``, and how far single runs ``beside`` lie off; states no number, so no verdict
===============  ====================================================================================================

``quantifier`` is ``all`` ("consistently"), ``most`` ("often", "generally": more than half), ``some``, or a number;
with ``per`` it has to hold within every group. ``like`` names what compared cells share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prime_audit.boards.cells import Cell
from prime_audit.boards.rounding import Span, Verdict, agrees
from prime_audit.boards.selection import LIKE, RELATIONS, Look, Pair, keys, shown
from prime_audit.errors import UserError, unknown

_ROW = ("table", "task", "method", "variant")
_WORDS = {"all": "all", "most": "more than half", "some": "at least 1"}


@dataclass(frozen=True)
class Finding:
    """What the cells say of a statement."""

    verdict: Verdict
    stated: str
    computed: str
    rounding: str = ""
    """What the cells' rounding leaves open."""
    counterexamples: tuple[str, ...] = ()
    """Every comparison that goes against it, is equal as printed, or cannot be read."""


@dataclass(frozen=True)
class Unit:
    """One thing that a quantifier counts."""

    group: str
    """The group it is counted in; empty where there is one."""
    verdict: Verdict
    text: str


def _gain(says: Mapping[str, Any], look: Look) -> Finding:
    cells = [look.select(says[side]) for side in ("of", "over")]
    for side, found in zip(("of", "over"), cells, strict=True):
        if len(found) != 1:
            raise UserError(f"{look.where}: {side} selects {len(found)} cells; a gain is of one over one")
    return _percentage(says["percent"], Pair(cells[0][0], cells[1][0]), look)


def _largest(says: Mapping[str, Any], look: Look) -> Finding:
    pairs = look.pairs(says["of"], says["over"], says.get("like", LIKE))
    known = [(span.mid, -i, pair) for i, pair in enumerate(pairs) if (span := look.gain(pair)) is not None]
    if not known:
        raise UserError(f"{look.where}: no gain is known; correct the selections")
    return _percentage(says["percent"], max(known)[2], look)


def _percentage(stated: str, pair: Pair, look: Look) -> Finding:
    span = look.gain(pair)
    if span is None:
        return Finding(Verdict.UNKNOWN, f"{stated} %", "–", "", (str(pair),))
    verdict = agrees(stated, span)
    against = (str(pair),) if verdict is Verdict.FAILS else ()
    return Finding(verdict, f"{stated} %", f"{_percent(span)} ({pair})", _range(span), against)


def _percent(span: Span) -> str:
    return f"{float(span.mid):.2f} %"


def _range(span: Span) -> str:
    return f"{float(span.low):.2f} to {float(span.high):.2f} % from numbers that round to these"


def _compare(says: Mapping[str, Any], look: Look) -> Finding:
    relation = says["relation"]
    if relation not in RELATIONS:
        raise UserError(f"{look.where}: {unknown('relation', str(relation), RELATIONS)}")
    if ("over" in says) == ("along" in says):
        raise UserError(f"{look.where}: give over or along, one of the two")
    pairs = (
        look.pairs(says["of"], says["over"], says.get("like", LIKE))
        if "over" in says
        else look.steps(says["of"], says["along"])
    )
    per = says.get("per", ())
    found = [(RELATIONS[relation](look, p), p) for p in pairs]
    units = [Unit(_group(p.ours, per), v, f"{p}{_equal(v)}") for v, p in found]
    return _quantified(units, says["quantifier"], relation, look)


def _tradeoff(says: Mapping[str, Any], look: Look) -> Finding:
    rows: dict[tuple[Any, ...], list[Pair]] = {}
    for pair in look.pairs(says["of"], says["over"], says.get("like", LIKE)):
        rows.setdefault(keys(pair.ours, _ROW), []).append(pair)
    units = []
    for pairs in rows.values():
        found = [(look.better(pair), pair) for pair in pairs]
        verdict = _threshold([v for v, _ in found], len(found))
        against = "; ".join(f"{pair}{_equal(v)}" for v, pair in found if v is not Verdict.HOLDS)
        units.append(Unit(_group(pairs[0].ours, says.get("per", ())), verdict, against))
    return _quantified(units, says["quantifier"], "better in every metric", look)


def _gains(says: Mapping[str, Any], look: Look) -> Finding:
    like, by = says.get("like", LIKE), says.get("by", ())
    ours = [(p, look.gain(p)) for p in look.pairs(says["of"], says["over"], like)]
    theirs = [(p, look.gain(p)) for p in look.pairs(says["than"]["of"], says["than"]["over"], like)]
    if says["relation"] not in ("larger", "smaller"):
        raise UserError(f"{look.where}: {unknown('relation', says['relation'], ('larger', 'smaller'))}")
    larger = says["relation"] == "larger"
    units = []
    for pair, span in ours:
        for other, against in theirs:
            if keys(pair.ours, by) == keys(other.ours, by):
                if span is None or against is None:
                    units.append(Unit("", Verdict.UNKNOWN, f"{pair}; {other}"))
                    continue
                text = f"{_percent(span)} ({pair}), {_percent(against)} ({other})"
                units.append(Unit("", _larger(*((span, against) if larger else (against, span))), text))
    return _quantified(units, says["quantifier"], f"{says['relation']} gain", look)


def _larger(ours: Span, theirs: Span) -> Verdict:
    if ours.mid > theirs.mid:
        return Verdict.HOLDS
    return Verdict.ROUNDING if ours.high > theirs.low else Verdict.FAILS


def _marks(says: Mapping[str, Any], look: Look) -> Finding:
    columns: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in look.select({"table": says["tables"]}):
        if cell.core not in says.get("without", ()):
            columns.setdefault(keys(cell, LIKE), []).append(cell)
    units, bare = [], 0
    for column in columns.values():
        for cell in column:
            above = [c for c in column if look.better(Pair(c, cell)) is Verdict.HOLDS]
            bare += not above and cell.value is not None and cell.mark != "bold"
            if cell.mark:
                right = len({c.value for c in above}) == (0 if cell.mark == "bold" else 1)
                better = ", ".join(f"{c.place} {shown(c)}" for c in above) or "nothing"
                text = f"{cell.source} {shown(cell)} is {cell.mark}; better: {better}"
                units.append(Unit("", Verdict.HOLDS if right else Verdict.FAILS, text))
    found = _quantified(units, "all", "rightly marked", look)
    return Finding(
        found.verdict,
        found.stated,
        f"{found.computed}; best values without a bold that could be read: {bare}",
        "",
        found.counterexamples,
    )


def _spread(says: Mapping[str, Any], look: Look) -> Finding:
    cells = [c for c in look.select(says["of"]) if c.stderr is not None and c.value]
    shares = [100 * (c.stderr or 0) / (c.value or 1) for c in cells]
    told = [f"standard errors of {min(shares):.1f} to {max(shares):.1f} % of the mean"]
    off: dict[str, list[float]] = {}
    for pair in look.pairs(says["beside"], says["of"], ("task", "metric", "method")):
        if pair.ours.value is not None and pair.theirs.value is not None and pair.theirs.stderr:
            apart = (pair.ours.value - pair.theirs.value) / pair.theirs.stderr
            off.setdefault(pair.ours.task, []).append(apart)
    table = says["beside"].get("table", "?")
    told += [
        f"{task}: the single runs of Table {table} lie {min(x):+.2f} to {max(x):+.2f} of them from it"
        for task, x in off.items()
    ]
    return Finding(Verdict.UNKNOWN, "no number", "; ".join(told))


def _quantified(units: Sequence[Unit], quantifier: str | int, relation: str, look: Look) -> Finding:
    """Count the units that hold, group by group; the worst group decides."""
    if isinstance(quantifier, bool) or not (quantifier in _WORDS or isinstance(quantifier, int)):
        raise UserError(f"{look.where}: {unknown('quantifier', str(quantifier), (*_WORDS, 'a number'))}")
    groups: dict[str, list[Unit]] = {}
    for unit in units:
        groups.setdefault(unit.group, []).append(unit)
    if not groups:
        raise UserError(f"{look.where}: compares nothing; correct the selections")
    verdicts, told, against = [], [], []
    for group, own in groups.items():
        need = {"all": len(own), "most": len(own) // 2 + 1, "some": 1}.get(str(quantifier), quantifier)
        verdicts.append(_threshold([u.verdict for u in own], int(need)))
        told.append(_counted(own, group))
        exact = sum(u.verdict is Verdict.HOLDS for u in own)
        if quantifier in ("all", "most") or exact < int(need):  # of "some", what failed tells nothing
            against += [u.text for u in own if u.verdict is not Verdict.HOLDS]
    ties = sum(u.verdict is Verdict.ROUNDING for u in units)
    word = _WORDS.get(str(quantifier), f"at least {quantifier}")
    each = f" in each of {len(groups)} groups" if len(groups) > 1 else f" of {len(units)}"
    rounding = f"{ties} not decided by the printed digits" if ties else ""
    return Finding(_worst(verdicts), f"{relation}: {word}{each}", "; ".join(told), rounding, tuple(against))


def _group(cell: Cell, per: Sequence[str]) -> str:
    """``Table 2 LaMP-4``."""
    return " ".join(f"Table {cell.table}" if name == "table" else str(getattr(cell, name)) for name in per)


def _threshold(verdicts: Sequence[Verdict], need: int) -> Verdict:
    """Tell whether at least ``need`` hold; those open within rounding, then those unknown, may still come in."""
    count = 0
    for verdict in (Verdict.HOLDS, Verdict.ROUNDING, Verdict.UNKNOWN):
        count += sum(v is verdict for v in verdicts)
        if count >= need:
            return verdict
    return Verdict.FAILS


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    order = (Verdict.FAILS, Verdict.UNKNOWN, Verdict.ROUNDING, Verdict.HOLDS)
    return min(verdicts, key=order.index)


def _counted(units: Sequence[Unit], group: str) -> str:
    held = sum(u.verdict is Verdict.HOLDS for u in units)
    return f"{group + ': ' if group else ''}{held} of {len(units)}"


def _equal(verdict: Verdict) -> str:
    """Point at a tie, which two equal numbers in a long line do not."""
    return " (equal as printed)" if verdict is Verdict.ROUNDING else ""


Kind = Callable[[Mapping[str, Any], Look], Finding]
KINDS: dict[str, tuple[Kind, tuple[str, ...], tuple[str, ...]]] = {
    "gain": (_gain, ("of", "over", "percent"), ()),
    "largest": (_largest, ("of", "over", "percent"), ("like",)),
    "compare": (_compare, ("of", "relation", "quantifier"), ("over", "along", "like", "per")),
    "tradeoff": (_tradeoff, ("of", "over", "quantifier"), ("like", "per")),
    "gains": (_gains, ("of", "over", "than", "relation", "quantifier"), ("like", "by")),
    "marks": (_marks, ("tables",), ("without",)),
    "spread": (_spread, ("of", "beside"), ()),
}
"""Name → what evaluates it, the entries it needs, and those it may have."""
