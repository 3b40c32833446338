"""The answers of a run or a leaderboard in five lines: ability, utility, leakage, what could not be seen, what to do.

One function for the terminal, the tables, the page and a model's card.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from prime_audit.io.markup import interval, number
from prime_audit.report.risk import EXPOSED, SEVERITY, Choice, Risk, grade, risks
from prime_audit.report.sheet import Figure, PanelRow, Sheet
from prime_audit.report.table import any_beaten

Tone = Literal["good", "bad", "open"]
_ASKS = dict(zip(EXPOSED, ("heldout", "target", "adapter"), strict=True))
"""A game that asks about each."""
ENOUGH = re.compile(r"about [\d,]+ [^;]*, now [^;]*")
"""In a verdict's reason: how many people or items would decide it."""
WORDS = {
    "too few to say": "a leak is neither shown nor ruled out",
    "confounded": "nothing is decided",
}
"""How the best methods' verdicts are put."""


@dataclass(frozen=True)
class Answer:
    """One line of a summary."""

    about: str
    """Ability, Utility, Leakage, Not seen or Next."""
    says: str
    """One or two sentences."""
    tone: Tone = "open"
    """Whether a reader can rely on it, must beware, or does not know yet."""


def summary(sheet: Sheet) -> tuple[Answer, ...]:
    """Answer the five questions; those about leakage only where anything was audited."""
    answers = [_ability(sheet), _utility(sheet)]
    if sheet.leaks:
        answers += [_leakage(sheet), _unseen(sheet)]
    return tuple(a for a in (*answers, _next(sheet)) if a.says)


def at_risk(sheet: Sheet, choice: Choice) -> list[str]:
    """Name for each task the best method by its first metric among those whose risk is accepted, in a line."""
    found = {task: _first_metric(sheet, task) for task in sheet.tasks}
    return [f"{task}: {_accepted(sheet, own, task, choice)}" for task, own in found.items() if own]


def _accepted(sheet: Sheet, own: Sequence[Figure], task: str, choice: Choice) -> str:
    found = risks(sheet, task)
    able = [f for f in own if choice.accepts(found[f.method])]
    if not able:
        return f"none of {len(own)} methods qualifies"
    lead = _lead(able)
    places = ""
    if lead.rank:
        first, last = lead.rank
        places = f", place {first if first == last else f'{first} to {last}'} of all"
    return f"{_valued(lead, places)}; {len(able)} of {len(own)} methods qualify"


def _ability(sheet: Sheet) -> Answer:
    """Say which tasks the model can do."""
    able = [f"{task} ({how})" for task, how in sheet.able.items()]
    said = []
    if able:
        said.append(f"Better than without a model: {'; '.join(able)}.")
    if sheet.unable:
        said.append(
            f"Not shown to do {_and(sheet.unable)}: what is said of it may not hold for a model that can."
        )
    return Answer("Ability", " ".join(said), "bad" if sheet.unable else "good")


def _utility(sheet: Sheet) -> Answer:
    """Name the best method of each task by its first metric, and whether it measurably beats every other."""
    found = [_best(task, own) for task in sheet.tasks if (own := _first_metric(sheet, task))]
    says = "; ".join(said for said, _ in found)
    return Answer("Utility", f"{says}." if says else "", "good" if all(sure for _, sure in found) else "open")


def _best(task: str, own: Sequence[Figure]) -> tuple[str, bool]:
    """Say which of a task's figures is best, and whether that is measured."""
    lead = _lead(own)
    said = f"{task}: {_valued(lead)}"
    if len(own) == 1:
        return f"{task}: {_alone(lead)}", _gains(lead)
    if all(f.ci is None for f in own):
        return f"{said} is the best as printed, without a known error", False
    top = [f for f in own if f.rank and f.rank[0] == 1] if any_beaten([f.rank for f in own]) else []
    if lead.rank == (1, 1):
        return f"{said} is measurably better than every other", True
    if not top:
        return f"{said} leads, but no method is measurably better than another", False
    others = [f.method for f in top if f is not lead]
    rest = others[0] if len(others) == 1 else f"{len(others)} others" if others else "every other"
    return f"{said} leads, not measurably before {rest}", False


def _first_metric(sheet: Sheet, task: str) -> list[Figure]:
    own = [f for f in sheet.figures if f.task == task and not f.of_a_game and f.value is not None]
    return [f for f in own if f.metric == own[0].metric]


def _lead(own: Sequence[Figure]) -> Figure:
    return max(own, key=lambda f: f.merit)


def _alone(f: Figure) -> str:
    """Say of a sheet's only method how far it is from the baseline."""
    if f.difference is None:
        return _valued(f)
    gain = " ".join(filter(None, (number(f.difference, True), interval(f.difference_ci, True))))
    return f"{_valued(f)}, {gain} against {f.baseline}"


def _gains(f: Figure) -> bool:
    """Whether it is measurably better than its baseline."""
    if f.difference_ci is None:
        return False
    low, high = f.difference_ci
    return high < 0 if f.higher_is_better is False else low > 0


def _valued(f: Figure, more: str = "") -> str:
    return f"{f.method} ({f.metric} {number(f.value or 0.0)}{more})"


def _leakage(sheet: Sheet) -> Answer:
    """Name the worst finding over all games for each of those whose data it exposes."""
    said, grades = list[str](), set[str]()
    for who in EXPOSED:
        found = Risk(tuple(x for x in sheet.leaks if x.game.exposes == who and not _nobodys(sheet, x)))
        if found.worst is None:
            continue
        same = [x for x in found.deciding if grade(x.leak.verdict) == found.verdict]
        able = [x for x in same if not x.unable]
        where = "" if able else ", on a task that the model is not shown to do"
        word, worst = str(found.verdict), Risk(tuple(able or same)).worst
        assert worst is not None
        grades.add(word)
        methods = {x.leak.method for x in found.deciding}
        having = {x.leak.method for x in same}
        # Shared adapters are what every method starts from: no method takes part in their game.
        many = f" ({len(having)} of {len(methods)} methods)" if len(methods) > 1 and who != EXPOSED[2] else ""
        said.append(
            f"{who[0].upper()}{who[1:]}: {word}{many}{where}; the largest of these is {_named(worst)}."
        )
    bad = grades & {*SEVERITY[:3]}
    return Answer("Leakage", " ".join(said), "bad" if bad else "good" if grades == {SEVERITY[-1]} else "open")


def _nobodys(sheet: Sheet, x: PanelRow) -> bool:
    """Whether a row asks a control about sharers: it holds nothing of them."""
    return x.leak.method in sheet.controls and x.game.exposes == EXPOSED[0]


def _named(x: PanelRow) -> str:
    leak = x.leak
    over = (
        f", {number(x.gap.difference, True)} over the base" if x.gap and x.gap.difference is not None else ""
    )
    who = "" if x.game.exposes == EXPOSED[2] else f"{leak.method} "
    return f"{who}on {leak.task} (game {leak.game}, attack {leak.attack}: AUC {number(leak.auc)}{over})"


def _unseen(sheet: Sheet) -> Answer:
    """Count the verdicts that decide nothing, and name what no game asked."""
    graded = Counter(grade(x.leak.verdict) for x in sheet.leaks)
    open_ones = graded["too few to say"] + graded["confounded"]
    said = []
    if open_ones:
        parts = [f"{graded[word]} {word}" for word in ("too few to say", "confounded") if graded[word]]
        said.append(f"{open_ones} of {len(sheet.leaks)} verdicts decide nothing ({', '.join(parts)}).")
    # None of a tested figure: even the largest leak would not have been found.
    tested = [x.leak.detectable or math.inf for x in sheet.leaks if x.leak.relabellings]
    if tested and math.isfinite(middle := median(tested)):
        said.append(f"The median audit finds an AUC of {number(middle)} in 80 % of cases.")
    elif tested:
        said.append("Most of these audits could find no leak, however large.")
    for control in sheet.controls:
        audits = [x for x in sheet.leaks if x.leak.method == control and _nobodys(sheet, x)]
        called = sum(grade(x.leak.verdict) in SEVERITY[:2] for x in audits)
        if called:
            said.append(
                f"{control}, a control that holds nothing of any sharer, is said to leak in {called} of its "
                f"{len(audits)} audits of sharers: single finds of others may be as false."
            )
    asked = {x.game.exposes for x in sheet.leaks}
    said += [f"Nothing asked about {who} (--games {_ASKS[who]})." for who in EXPOSED if who not in asked]
    return Answer("Not seen", " ".join(said))


def _next(sheet: Sheet) -> Answer:
    """Say what to do: the first things that stand between the figures and a decision."""
    return Answer("Next", " ".join([*_steps(sheet)][:4]))


def _steps(sheet: Sheet) -> Iterator[str]:
    if sheet.failures:
        yield "Some parts failed: read the failures first."
    if sheet.unable:
        yield f"Try a model that can do {_and(sheet.unable)} (--model), or read its prompts (prime-audit prompts)."
    if any(x.game.exposes == EXPOSED[2] and grade(x.leak.verdict) == SEVERITY[0] for x in sheet.leaks):
        yield "The shared adapters leak before any merge: look first at who receives them."
    choices = [said for task in sheet.tasks if task not in sheet.unable if (said := _choice(sheet, task))]
    if choices:
        yield f"Of the methods that none beats: {'; '.join(choices)}."
    for x in (x for task in sheet.tasks for x in _undecided(sheet, task)):
        if found := ENOUGH.search(x.leak.why):
            yield f"To decide more, bring more people or items: for {x.leak.method} on {x.leak.task}, {found[0]}."
            break


def _choice(sheet: Sheet, task: str) -> str | None:
    """Say of the methods with the best utility what is known of their leaks; None where nothing was audited."""
    found = risks(sheet, task)
    top = _top(sheet, task)
    if not any(found[m].rows for m in top):
        return None
    said: dict[str, list[str]] = {}
    for m in top:
        said.setdefault(found[m].verdict or "not audited", []).append(m)
    word = next(w for w in (*reversed(SEVERITY[3:]), "not audited", *reversed(SEVERITY[:3])) if w in said)
    methods = said[word]
    if word in SEVERITY[:3]:
        return (
            f"{task}: all {len(top)} leak; look for a safer one below"
            if len(top) > 1
            else f"{task}: {top[0]} leaks"
        )
    few = _and(methods[:3]) if len(methods) < 4 else f"{', '.join(methods[:3])} and {len(methods) - 3} more"
    rest = "" if len(methods) == len(top) else "; the rest is worse or not audited"
    return f"{task}: {few} ({WORDS.get(word, word)}{rest})"


def _top(sheet: Sheet, task: str) -> list[str]:
    """Return the methods, controls left out, that none beats in the first metric, best first."""
    own = [
        f for f in _first_metric(sheet, task) if f.rank and f.rank[0] == 1 and f.method not in sheet.controls
    ]
    return [f.method for f in sorted(own, key=lambda f: -f.merit)]


def _undecided(sheet: Sheet, task: str) -> Iterator[PanelRow]:
    """Yield for each of the best methods the row that decides its risk, where that is undecided."""
    found = risks(sheet, task)
    for m in _top(sheet, task) if task not in sheet.unable else ():
        if found[m].verdict == "too few to say" and (worst := found[m].worst):
            yield worst


def _and(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
