"""A run's record as a sheet, and the files that every run leaves of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from prime_audit.folder import RECORD, write_atomic
from prime_audit.io.markup import interval, number
from prime_audit.lamp.metrics import CHRF_SIGNATURE
from prime_audit.lamp.tasks import CHRF
from prime_audit.record import Comparison, Exposure, Record, Result, Vulnerable
from prime_audit.report import frontier, page, text
from prime_audit.report.abilities import able_line, line_of
from prime_audit.report.columns import cautions, older
from prime_audit.report.games import note_of
from prime_audit.report.places import Gap, between, gap_between, with_places
from prime_audit.report.sheet import AUC, Figure, PanelRow, Sheet, Source, cut_share, is_leakage, judged

_READING = (
    "Does personalisation help its user, and whose data does it leak?",
    "Utility pools the questions of all targets. Bold is what no other method beats, where any is beaten: by paired "
    "differences of all methods, corrected together (Holm, 95 %). Δ np is the method minus the non-personalised model "
    "on the same questions.",
    "AUC is the attack's, per target, averaged over targets: ½ is chance, and distance from ½ in either direction is "
    "signal. It is not ranked: members are chosen by similarity, so part of it is there before any model is "
    "personalised. That part is AUC base, the same score from the unmerged base; AUC − base is what merging adds.",
    "n/a: the figure does not apply; a method that merges no adapters has no members. Its reason is the footnote.",
)


def render_all(record: Record, folder: Path) -> None:
    """Write tables, frontier and index.html into ``folder``, each whole or not at all."""
    sheet = sheet_of(record, "run")
    write_atomic(folder / "table.md", [text.markdown(sheet)])
    write_atomic(folder / "table.csv", [text.csv(sheet)])
    write_atomic(folder / "index.html", [page.render(sheet)])
    for form, content in frontier.draw(sheet, record.intervals.level).items():
        write_atomic(folder / f"frontier.{form}", [content])


def sheet_of(record: Record, name: str) -> Sheet:
    """Arrange one run's record as a sheet beside its ``record.json``; ``name`` is the run."""
    compared: dict[tuple[str | None, ...], Comparison] = {}
    for c in record.comparisons:  # of several baselines the first is shown
        compared.setdefault((c.task, c.method, c.metric, c.game, c.attack), c)
    tasks = tuple(dict.fromkeys(r.task for r in record.results))
    methods = dict.fromkeys([*record.methods, *(r.method for r in record.results)])
    figures = [
        _figure(r, compared.get((r.task, r.method, r.metric, r.game, r.attack)), name) for r in record.results
    ]
    leaks = judged(record, name)
    able = {
        a.task: able_line(a.metric, (a.method, a.value), (a.how, a.without))
        for a in record.abilities
        if a.shown
    }
    unable = {ability.task: line_of(ability) for ability in record.abilities if not ability.shown}
    return Sheet(
        name=name,
        title=f"What personalisation gives, and what it gives away: {', '.join(tasks)}",
        about=_READING,
        command=record.command,
        model=record.model.name,
        tasks=tasks,
        methods={method: {"parameters": record.methods.get(method, {})} for method in methods},
        figures=tuple(with_places(figures, partial(_gap, record))),
        leaks=leaks,
        sources={name: Source(name, RECORD, record.seeds.get("run"))},
        vulnerable=tuple(map(_vulnerable, record.vulnerable)),
        controls=tuple(controls(record.plugins, methods)),
        notes=(*control_notes(record.plugins, methods), *_notes(record, tasks), *older([record])),
        failures=tuple(failure.line() for failure in record.failures),
        able=able,
        unable=unable,
        warnings=tuple(
            w for w in dict.fromkeys([*record.warnings, *_warned(leaks)]) if w not in unable.values()
        ),
    )


def _warned(leaks: Iterable[PanelRow]) -> Iterator[str]:
    """Name whose items have no score or are on both sides; methods of which the same is true share a line."""
    methods: dict[tuple[str, str, str], list[str]] = {}
    for x in leaks:
        for of, line in cautions(x):
            methods.setdefault((x.leak.task, of, line), []).append(x.leak.method)
    for (task, of, line), own in methods.items():
        yield f"{task}: {of} ({', '.join(own)}): {line}"


def _vulnerable(v: Vulnerable) -> str:
    """Name one of the most vulnerable records, and say what it rests on."""
    said = "chance is unknown"
    if v.limit is not None:
        how = "beyond" if v.d > v.limit else "within"
        said = f"{how} chance (the largest of all records exceeds {v.limit:.2f} by chance in 5 %)"
    return f"{v.task} · {v.method} · game {v.game}: record {v.item}: d = {v.d:.2f}, {said}; {v.shadows} shadow adapters"


def _figure(r: Result, c: Comparison | None, source: str) -> Figure:
    return Figure(
        task=r.task,
        method=r.method,
        metric=r.metric,
        value=r.value,
        ci=r.ci,
        n=r.n,
        targets=r.targets,
        higher_is_better=r.higher_is_better,
        reason=r.reason or (c.reason if c else None),
        game=r.game,
        attack=r.attack,
        difference=c.difference if c else None,
        difference_ci=c.ci if c else None,
        baseline=c.baseline if c else None,
        cut=cut_share([r]),
        sources=(source,),
        seeds=() if r.value is None else (r.value,),
    )


def controls(plugins: Mapping[str, Mapping[str, Any]], methods: Iterable[str]) -> dict[str, str]:
    """Return each control's label with what its row says of the others; ``plugins``: as records have them."""
    found = {
        label: plugins.get(f"method {re.split('[:+]', label)[0]}", {}).get("control") for label in methods
    }
    return {label: str(control) for label, control in found.items() if control}


def control_notes(plugins: Mapping[str, Mapping[str, Any]], methods: Iterable[str]) -> Iterator[str]:
    """Say of each control what its row says of the others."""
    said: dict[str, list[str]] = {}
    for label, control in controls(plugins, methods).items():
        said.setdefault(control, []).append(label)
    yield from (f"{', '.join(labels)}: control; {control}." for control, labels in said.items())


def _gap(record: Record, one: Figure, other: Figure) -> Gap | None:
    """Subtract two methods' results on one metric."""
    ours, theirs = (
        next(
            r
            for r in record.results
            if (r.task, r.method, r.metric, r.game) == (f.task, f.method, f.metric, f.game)
        )
        for f in (one, other)
    )
    return gap_between(ours, theirs, between(record.comparisons, ours, theirs))


def _notes(record: Record, tasks: Sequence[str]) -> Iterator[str]:
    """Say what the figures rest on: once where all tasks agree, else task by task."""
    by_task = {task: [*_of_task(record, task)] for task in tasks}
    for line in dict.fromkeys(line for lines in by_task.values() for line in lines):
        having = [task for task in tasks if line in by_task[task]]
        yield line if len(having) == len(tasks) else f"{', '.join(having)}: {line}"


def _of_task(record: Record, task: str) -> Iterator[str]:
    results = [r for r in record.results if r.task == task and r.value is not None]
    utility = [r for r in results if not is_leakage(r.metric)]
    aucs = [r for r in record.results if r.task == task and r.metric == AUC]
    verdicts = {(x.game, x.attack) for x in record.leaks if x.task == task}
    played = [(r.game, r.attack) for r in aucs]
    telling = (key for key in played if key in verdicts and note_of(key[0], record.plugins).drawn)
    shown = next(telling, next(iter(played), None))  # as the tables show it
    attacked = [r for r in aucs if r.value is not None and (r.game, r.attack) == shown]
    level, draws = f"{100 * record.intervals.level:g} %", record.intervals.draws
    how = f"bootstrap percentiles, {draws} draws" if draws else "one person left out at a time, Student's t"
    units = ["utility over users"] * bool(utility) + ["leakage over sharers and targets"] * bool(attacked)
    yield f"Intervals: {level}, {how}; {'; '.join(units)}."
    if utility:
        yield f"Utility: {_span(r.n for r in utility)} questions of {_span(r.targets for r in utility)} targets."
    if any(r.metric == CHRF for r in utility):
        yield f"chrf: character n-gram F-score of sacreBLEU ({CHRF_SIGNATURE}), mean over answers, 0 to 1."
    if draws and any(r.metric == "f1" for r in utility):
        yield "f1: percentile intervals lean low: a resample may lack a class, which then counts 0."
    if attacked:
        items, targets = _span(r.n for r in attacked), _span(r.targets for r in attacked)
        sharers = [r.member_sharers for r in attacked if r.member_sharers is not None]
        members = f", members from {_span(sharers)} sharers" if sharers else ""
        how = f"game {attacked[0].game}, attack {attacked[0].attack}"
        yield f"Leakage: {how}; {items} scored items of {targets} targets{members}."
    yield from _canaries(record, task)
    yield from _extracted(record, task)
    if of := next((r for r in aucs if note_of(r.game, record.plugins).samples), None):
        yield from _sampling(record, of)


def _canaries(record: Record, task: str) -> Iterator[str]:
    """Give the exposure of canaries, method by method, and what they cost."""
    own = [x for x in record.exposures if x.task == task]
    lines = dict[tuple[str, str], list[str]]()
    for game, method in dict.fromkeys((x.game, x.method) for x in own):
        said = [x for x in own if (x.game, x.method) == (game, method)]
        designs = "; ".join(
            f"{x.design} {number(x.exposure)} (base {number(x.base)}; {_tested(x)}{_bound(x)}) of {x.canaries} canaries"
            for x in said
        )
        levels = f"by chance {_bits([x.chance for x in said])}, at most {_bits([x.most for x in said])}"
        lines.setdefault((game, f"{designs}; {levels}"), []).append(method)
    for (game, line), methods in lines.items():
        yield f"Exposure in bits, game {game}, {', '.join(methods)}: {line}."
    for x in record.canary_costs:
        if x.task == task and x.difference is not None:
            yield (
                f"Cost of {x.canaries} canaries a sharer, half of them trained on: held-out items of {x.sharers} "
                f"sharers under their own adapters, mean NLL with canaries minus without (nats): "
                f"{number(x.difference, True)} {interval(x.ci, True)} from {number(x.without or 0.0)}."
            )
        elif x.task == task:
            yield f"Cost of {x.canaries} canaries a sharer: unknown: {x.reason}."


def _extracted(record: Record, task: str) -> Iterator[str]:
    """Say how many trained golds models write out, beside held-out ones, method by method."""
    lines = dict[str, list[str]]()
    for x in record.extractions:
        if x.task != task:
            continue
        if not x.trained:
            lines.setdefault(f"not measured: {x.reason}", []).append(x.method)
            continue
        sides = [
            f"{near} of {items} {what} items ({verbatim} of them verbatim)"
            for near, items, what, verbatim in (
                (x.trained_near, x.trained, "trained", x.trained_verbatim),
                (x.heldout_near, x.heldout, "held-out", x.heldout_verbatim),
            )
        ]
        line = " and ".join(sides)
        if x.difference is not None and x.p is not None:
            limits = interval(x.ci, True) if x.ci else f"(no interval: {x.reason})"
            line += f"; mean difference over {x.sharers} sharers {number(x.difference, True)} {limits}, p = {x.p:.2g}"
        lines.setdefault(line, []).append(x.method)
    for line, methods in lines.items():
        yield f"Extraction by greedy decoding, nearly (0.9 similar) or verbatim, {', '.join(methods)}: {line}."


def _tested(x: Exposure) -> str:
    return "" if x.p is None else f"p = {x.p:.2g}; "


def _bound(x: Exposure) -> str:
    if x.epsilon is None or x.epsilon_ceiling is None:
        return "no ε"
    return f"ε ≥ {x.epsilon:.2f} of {x.epsilon_ceiling:.2f}"


def _bits(values: Sequence[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low}–{high}"


def _sampling(record: Record, of: Result) -> Iterator[str]:
    """Say of a game that it samples its non-members, and how many items are on each side."""
    settings = record.spec.get("settings")
    own = settings.get(of.task) if isinstance(settings, dict) else None
    each = own.get("nonmember_items", 0) if isinstance(own, dict) else 0
    if not each:
        return
    leaks = [x for x in record.leaks if (x.task, x.game, x.attack) == (of.task, of.game, of.attack)]
    members, others = [x.members for x in leaks], [x.others for x in leaks]
    sides = f"; {_span(members)} member items, {_span(others)} non-member items" if leaks else ""
    seed = record.seeds.get("run")
    yield f"Non-members sampled: {each} of each other sharer's items (all of fewer), seed {seed}{sides}."


def _span(numbers: Iterable[int]) -> str:
    """``7``, or ``7–9`` where rows differ."""
    low, high = min(values := list(numbers)), max(values)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"
