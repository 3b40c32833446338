"""Every column that a run or a leaderboard shows, declared once: what it takes, and what it means.

A row added to ``FIGURES`` or ``PANEL`` appears on the terminal, in Markdown and on the page; its ``fields`` in CSV and
JSON. A row of ``PANEL`` appears in a module's card too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

from prime_audit.audit.auc import FPRS
from prime_audit.audit.permutation import TAIL, WIDE
from prime_audit.audit.verdict import EDITION, OUTCOMES
from prime_audit.record import Record
from prime_audit.report.abilities import DAGGER, UNABLE
from prime_audit.report.sheet import Figure, PanelRow
from prime_audit.report.table import Cell

T = TypeVar("T")
MANY_CUT = 0.1
"""Share of a method's answers, cut at max_new tokens, above which a run warns and tables show it."""


class Shown(NamedTuple):
    """A figure with the control panels of its records: one for each that judged it."""

    figure: Figure
    panels: tuple[PanelRow, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Column(Generic[T]):
    """One column."""

    name: str
    """Its name; of a panel's column the head too."""
    cell: Callable[[T], Cell] | None = None
    """What is shown; None if it is in files only."""
    head: Callable[[str, Sequence[Figure]], str] = lambda metric, figures: metric
    """(metric, its figures) → the head in a task's table."""
    fields: Mapping[str, Callable[[T], object]] = field(default_factory=dict)
    """Columns of table.csv and entries of table.json, in full precision."""
    help: str = ""
    """What it means, in one clause of the legend."""


def _value_head(metric: str, figures: Sequence[Figure]) -> str:
    directions = {f.higher_is_better for f in figures} - {None}
    arrow = "" if len(directions) != 1 else " ↑" if True in directions else " ↓"
    return (metric.replace("auc", "AUC").replace("_", " ") if figures[0].of_a_game else metric) + arrow


def _difference_head(_metric: str, figures: Sequence[Figure]) -> str:
    """Name what is subtracted: np, base, or several with a slash."""
    names = dict.fromkeys(f.baseline for f in figures if f.baseline and f.difference is not None)
    return f"{'AUC −' if figures[0].of_a_game else 'Δ'} {'/'.join(names)}"


def _value(x: Shown) -> Cell:
    f = x.figure
    why = f.reason if f.value is None or f.ci is None else None
    return Cell(f.value, f.ci, reason=why)


def _difference(x: Shown) -> Cell:
    """Return the difference; its reason is the value's, or why the two could not be compared."""
    f = x.figure
    lacking = f.difference is None or f.difference_ci is None
    why = f.reason if lacking and (f.value is None or f.baseline) else None
    return Cell(f.difference, f.difference_ci, signed=True, reason=why)


def _place(x: Shown) -> Cell:
    best, worst = x.figure.rank or (0, 0)
    return Cell(text=None if not best else str(best) if best == worst else f"{best}–{worst}")


def _cut(x: Shown) -> Cell:
    share = x.figure.cut or 0.0
    return Cell(text=f"{100 * share:.0f} %" if share > MANY_CUT else None)


def _verdict(x: Shown) -> Cell:
    """Count the verdicts of one or several records: leaks, or leaks 2/3, confounded 1/3."""
    counted = Counter(one.leak.verdict for one in x.panels)
    several = len(counted) > 1
    said = [f"{word} {n}/{len(x.panels)}" if several else word for word, n in counted.most_common()]
    why = dict.fromkeys(one.leak.why for one in x.panels)
    unable = any(one.unable for one in x.panels)
    if unable:
        why[UNABLE] = None
    return Cell(text=", ".join(said) or None, reason="; ".join(why) or None, mark=DAGGER if unable else "")


def _limit(name: str, place: int) -> Callable[[Any], object]:
    """Return a getter of one end of a pair that may be None."""
    pair = attrgetter(name)
    return lambda x: (pair(x) or (None, None))[place]


def _plain(*names: str) -> Iterable[Column[Shown]]:
    """Declare attributes of a figure that are in files only."""
    return (Column(name=name, fields={name: attrgetter(f"figure.{name}")}) for name in names)


FIGURES: tuple[Column[Shown], ...] = (
    *_plain("task", "method", "metric", "game", "attack"),
    Column(
        name="value",
        cell=_value,
        head=_value_head,
        fields={
            "value": attrgetter("figure.value"),
            "lo": _limit("figure.ci", 0),
            "hi": _limit("figure.ci", 1),
        },
    ),
    Column(
        name="place",
        cell=_place,
        head=lambda *_: "place",
        fields={"best_place": _limit("figure.rank", 0), "worst_place": _limit("figure.rank", 1)},
    ),
    *_plain("n", "targets", "baseline"),
    Column(
        name="difference",
        cell=_difference,
        head=_difference_head,
        fields={
            "difference": attrgetter("figure.difference"),
            "difference_lo": _limit("figure.difference_ci", 0),
            "difference_hi": _limit("figure.difference_ci", 1),
        },
    ),
    Column(
        name="cut",
        cell=_cut,
        head=lambda *_: "cut",
        fields={"cut": attrgetter("figure.cut")},
    ),
    Column(
        name="board q",
        cell=lambda x: Cell(x.figure.q),
        head=lambda *_: "board q",
        fields={"board_q": attrgetter("figure.q")},
    ),
    Column(
        name="records",
        fields={"seeds": lambda x: len(x.figure.seeds), "records": lambda x: " ".join(x.figure.sources)},
    ),
    *_plain("reason"),
    Column(
        name="verdict",
        cell=_verdict,
        head=lambda *_: "verdict",
    ),
)
"""Of a figure, in the order of table.csv."""
SHOWN: Mapping[str, Column[Shown]] = {c.name: c for c in FIGURES if c.cell}
"""Those that a task's table shows, by name."""


def _over_base(x: PanelRow) -> Cell:
    if x.gap is None:
        return Cell(signed=True, reason="the record holds no difference to the unmerged base's AUC")
    why = None if x.gap.difference is not None else x.gap.reason or "the record does not say why"
    return Cell(x.gap.difference, x.gap.ci, signed=True, reason=why)


def _q(x: PanelRow) -> Cell:
    """Show q; below what three decimals can show, as an inequality: it is not 0."""
    q = x.leak.q
    return Cell(q) if q is None or q >= 0.0005 else Cell(text="<0.001")


def _bound(x: PanelRow) -> Cell:
    known = x.leak.epsilon is not None and x.leak.epsilon_ceiling is not None
    return Cell(text=f"{x.leak.epsilon:.2f} of {x.leak.epsilon_ceiling:.2f}" if known else "–")


def _rate(limit: str) -> Callable[[PanelRow], object]:
    return lambda x: x.leak.tpr.get(limit)


def _rates(x: PanelRow) -> Cell:
    rates = ("–" if rate is None else f"{rate:.2f}".lstrip("0") for rate in x.leak.tpr.values())
    return Cell(text=" ".join(rates))


def _said(x: PanelRow) -> Cell:
    """Show a verdict; with a dagger where the model is not shown to do the task."""
    why = f"{x.leak.why}; {UNABLE}" if x.unable else x.leak.why
    return Cell(text=x.leak.verdict, reason=why, mark=DAGGER if x.unable else "")


PANEL: tuple[Column[PanelRow], ...] = (
    Column(name="game", cell=lambda x: Cell(text=x.leak.game)),
    Column(name="attack", cell=lambda x: Cell(text=x.leak.attack)),
    Column(
        name="AUC",
        cell=lambda x: Cell(x.leak.auc, x.leak.ci),
        fields={  # shown in the verdict's reason
            "best_control": attrgetter("leak.best_control"),
            "over_control": attrgetter("leak.over_control"),
            "over_control_lo": _limit("leak.over_control_ci", 0),
            "over_control_hi": _limit("leak.over_control_ci", 1),
        },
        help="how often a member scores above a non-member (½: guessing)",
    ),
    Column(name="over base", cell=_over_base, help="AUC minus the unmerged base's"),
    Column(
        name="q",
        cell=_q,
        fields={
            name: attrgetter(f"leak.{name}")
            for name in ("q", "q_already", "p_adjusted", "p", "p_auc", "p_base")
        },
        help="smallest level at which this is a finding, over all attacks, methods and tasks of the run",
    ),
    Column(
        name="tail",
        cell=lambda x: Cell(x.leak.tail),
        fields={name: attrgetter(f"leak.{name}") for name in ("tail", "p_tail", "excluded")},
        help=f"share of members among the {100 * TAIL:g}–{100 * WIDE:g} % of items with the highest gains over base",
    ),
    Column(
        name="detectable AUC",
        cell=lambda x: Cell(x.leak.detectable),
        fields={name: attrgetter(f"leak.{name}") for name in ("detectable", "relabellings")},
        help="smallest leak that 80 % of such audits of this task alone find",
    ),
    Column(
        name="TPR",
        cell=_rates,
        fields={f"tpr_{fpr:g}": _rate(f"{fpr:g}") for fpr in FPRS},
        help=f"share of members found at {', '.join(f'{100 * fpr:g}' for fpr in FPRS)} % FPR",
    ),
    Column(
        name="ε ≥",
        cell=_bound,
        fields={"epsilon": attrgetter("leak.epsilon"), "epsilon_ceiling": attrgetter("leak.epsilon_ceiling")},
        help="lower bound on ε, of the highest possible",
    ),
    Column(
        name="verdict",
        cell=_said,
        fields={
            "verdict": attrgetter("leak.verdict"),
            "verdict_reason": attrgetter("leak.why"),
            "unable": lambda x: x.unable or None,  # empty where it is not said: older records do not know
        },
    ),
)
"""Of a control panel."""
MEANINGS: Mapping[str, str] = {c.name: c.help for c in PANEL if c.help}
"""What each column of a panel means: the one place that every legend quotes."""
VERDICTS: Mapping[str, str] = {word: outcome.means for word, outcome in OUTCOMES.items()}
"""What each verdict means; the whole rule is in prime_audit/audit/verdict.py."""
LEGEND = tuple(
    "; ".join(f"{name}: {meaning}" for name, meaning in meanings.items()) + "."
    for meanings in (MEANINGS, VERDICTS)
)
"""The legend of a control panel."""
_AGAIN = f"prime-audit attack judges a finished run by edition {EDITION}."
OLDER = {
    1: "Verdicts of edition 1 of the rules, and no q: p was corrected over the attacks of one method and game (Holm), "
    "a bound on ε above 0 was enough for a leak and an interval below 0.7 for none, and nothing looked at the tail. "
    f"{_AGAIN}",
    2: "Verdicts of edition 2 of the rules: in inclusion, leaks needed no test over people (what a board calls does). "
    f"{_AGAIN}",
}
"""What a reader must know of verdicts in older records."""


def older(records: Iterable[Record]) -> tuple[str, ...]:
    """Name the rules of verdicts that do not follow the current ones, with how many records have them."""
    rules = Counter(record.rules for record in records if record.leaks)
    every = rules.total()
    return tuple(
        said if rules[old] == every else f"{rules[old]} of {every} records: {said}"
        for old, said in OLDER.items()
        if rules[old]
    )


def cautions(x: PanelRow) -> list[tuple[str, str]]:
    """Name the items that an attack does not score, or that are on both sides of its game: (of what, how many)."""
    attack = f"{x.leak.attack}, game {x.leak.game}"
    counted = (
        (attack, x.leak.undefined, "undefined (they count with their target's median)"),
        (attack, x.leak.undefined_base, "undefined under the unmerged base"),
        (
            f"game {x.leak.game}",
            x.leak.both_sides,
            "on both sides: their text is a member's and a non-member's",
        ),
    )
    total = x.leak.members + x.leak.others
    return [(of, f"{count} of {total:,} items {what}") for of, count, what in counted if count]


def remark(x: PanelRow) -> str:
    """Say in one line what a verdict rests on: items, cautions, the p before correction, whose scores it repeats."""
    sizes = f"{x.leak.members:,} member and {x.leak.others:,} other items"
    draws = f" ({x.leak.relabellings:,} relabellings)" if x.leak.relabellings else ""
    alone = [] if x.leak.p is None else [f"p before correction {x.leak.p:.3g}{draws}"]
    same = [f"duplicate of {x.leak.duplicate}"] if x.leak.duplicate else []
    return "; ".join([*same, sizes, *(line for _, line in cautions(x)), *alone])
