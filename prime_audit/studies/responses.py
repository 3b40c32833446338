"""The study ``responses``: what is answered at growing α, beside the nearest sharer's own answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from prime_audit.audit.bootstrap import percentile_interval, resample_counts
from prime_audit.lamp.metrics import metric_table
from prime_audit.lamp.prompts import query_examples
from prime_audit.lamp.source import open_data
from prime_audit.lamp.tasks import TASKS
from prime_audit.record import Intervals
from prime_audit.seeds import rng_of, seed_of
from prime_audit.studies import figures, usual
from prime_audit.studies.paired import Side, Test, corrected
from prime_audit.studies.pairs import side, utility_tests
from prime_audit.studies.spec import Found, Report, Study, Variant
from prime_audit.studies.tables import Cell, Table

EXAMPLES = 5
"""Targets of whom the answers to a question are shown, of each task and model."""
NEAREST = Variant("Top sim.", "nearest")
"""The nearest sharer alone: her adapter, whole."""
LIKE = "{} with top sim."


def report(found: Found) -> Report:
    """Make a table of similarities and one of answers for each model, and test the pairs on the similarity."""
    tables, tests, panels = list[Table](), list[Test](), list[figures.Panel]()
    for model in found.models:
        alike = [
            (task, v, side(found, model, v, task, _theirs(found, model, task)))
            for task in found.plan.tasks
            for v in found.study.variants
            if v != NEAREST
        ]
        tables += [_similarities(found, model, alike), _answers(found, model)]
        tests += _tests(found, model)
        panels += [_panel(found, model, task, alike) for task in found.plan.tasks]
    drawing = figures.dots(panels, len(found.plan.tasks))
    more = "The questions shown are drawn by the seed, one a target, not chosen."
    return Report(tuple(tables), corrected(tests), drawing, (*usual.notes(found), more))


def _theirs(found: Found, model: str, task: str) -> list[str]:
    """Return the nearest sharers' answers, in the order of the questions."""
    return [row["prediction"] for row in found.answers(model, NEAREST, task)[0]]


def _tests(found: Found, model: str) -> Iterator[Test]:
    for task in found.plan.tasks:
        for first, second in found.study.pairs:
            pair = found.study.variant(first), found.study.variant(second)
            yield from utility_tests(found, model, task, *pair, _theirs(found, model, task), LIKE)


def _similarities(found: Found, model: str, alike: Sequence[tuple[str, Variant, Side]]) -> Table:
    """Tabulate how like the nearest sharer's the answers are, how many are the same, and how good they are."""
    labels, rows = [], []
    heads = _heads(found)
    for task, variant, own in alike:
        labels.append((task, variant.key))
        metrics = TASKS[task].metrics
        figures_ = [usual.pooled(found.results(model, variant, task, m)) for m in metrics]
        rows.append(
            (*(_cell(found, task, own, m) for m in metrics), _same(found, model, task, variant), *figures_)
        )
    return Table(_title(found, model, "likeness"), ("Task", "Source"), heads, tuple(labels), tuple(rows))


def _heads(found: Found) -> tuple[tuple[str, str], ...]:
    kinds = {TASKS[task].metrics: TASKS[task].higher_is_better for task in found.plan.tasks}
    names = [" / ".join(usual.SHORT.get(m[i], m[i]) for m in kinds) for i in range(2)]
    like = [("With the nearest sharer's", n) for n in names]
    return (*like, ("With the nearest sharer's", "the same"), *(("With the gold", n) for n in names))


def _title(found: Found, model: str, what: str) -> str:
    return f"{usual.title(found, model)}: {what}"


def _cell(found: Found, task: str, own: Side, metric: str) -> Cell:
    """Make the cell of a metric whose references are the nearest sharer's answers."""
    value = own.tables[0].value(metric)
    if len(set(own.users)) < 2:
        return Cell(value)
    counts = resample_counts(own.users, n=Intervals().draws, seed=seed_of(found.plan.seed, "bootstrap", task))
    return Cell(value, percentile_interval(own.resampled(metric, counts), Intervals().level))


def _same(found: Found, model: str, task: str, variant: Variant) -> Cell:
    """Make the cell of the share of answers that are the nearest sharer's word for word."""
    own = [row["prediction"].strip() for row in found.answers(model, variant, task)[0]]
    return Cell(
        float(np.mean([a == b.strip() for a, b in zip(own, _theirs(found, model, task), strict=True)]))
    )


def _answers(found: Found, model: str) -> Table:
    """Show the answers to some questions, as Tables 3 and 8 do."""
    labels, rows = [], []
    for task in found.plan.tasks:
        prompts = _prompts(found, task)
        theirs = found.answers(model, NEAREST, task)[0]
        for n in _drawn(found.plan.seed, task, [row["target"] for row in theirs]):
            texts = {"Prompt": prompts[theirs[n]["id"]], "Gold": theirs[n]["gold"]}
            texts |= {v.key: found.answers(model, v, task)[0][n]["prediction"] for v in found.study.variants}
            for source, text in texts.items():
                labels.append((f"{task} {theirs[n]['id']}", source))
                like = Cell() if source in ("Prompt", NEAREST.key) else Cell(_like(task, theirs[n], text))
                rows.append((Cell(text=text), like))
    heads = (("", "Output"), ("", "likeness with Top sim."))
    return Table(_title(found, model, "answers"), ("Question", "Source"), heads, tuple(labels), tuple(rows))


def _drawn(seed: int, task: str, targets: Sequence[str]) -> list[int]:
    """Draw targets, and of each one question: places among all questions, whose targets are given."""
    rng = rng_of(seed, "responses", task)
    people = list(dict.fromkeys(targets))
    some = rng.choice(len(people), size=min(EXAMPLES, len(people)), replace=False)
    own = [[n for n, target in enumerate(targets) if target == people[i]] for i in sorted(some.tolist())]
    return [int(rng.choice(places)) for places in own]


def _like(task: str, theirs: dict[str, str], text: str) -> float:
    return metric_table(TASKS[task], [theirs["prediction"]], [text]).value(TASKS[task].metrics[0])


def _prompts(found: Found, task: str) -> dict[str, str]:
    """Question's id → what every source was asked."""
    plan = found.plan
    data = open_data(plan.data, task, plan.seed, plan.settings, strict=plan.strict)
    return {e.id: e.prompt for user in data.targets for e in query_examples(TASKS[task], user)}


def _panel(found: Found, model: str, task: str, alike: Sequence[tuple[str, Variant, Side]]) -> figures.Panel:
    metric = TASKS[task].metrics[0]
    marks = []
    for own_task, variant, own in alike:
        if own_task == task:
            cell = _cell(found, task, own, metric)
            assert cell.value is not None
            marks.append(figures.Mark(variant.key, variant.key[:5], None, cell.value, cell.ci))
    name = usual.heading(found, task, model)
    return figures.Panel(
        name, f"{usual.SHORT.get(metric, metric)} with the nearest sharer's answer", tuple(marks)
    )


STUDY = Study(
    name="responses",
    title="How far growing α takes the answers from the nearest sharer's own",
    answers="Tables 3 and 8",
    tasks=("LaMP-4",),
    variants=(
        Variant("Per-Pcs", "perpcs"),
        *(Variant(f"α={a}", f"prime:alpha={a}") for a in ("0", "2", "5")),
        NEAREST,
    ),
    pairs=(("α=2", "α=0"), ("α=5", "α=0"), ("α=0", "Per-Pcs")),
    about=("Top sim. is the most similar sharer's own adapter, asked the target's question.",),
    report=report,
)
