"""The study ``responses``: the answers at growing α, beside the nearest sharer's own answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from prime_audit.lamp.metrics import metric_table
from prime_audit.lamp.prompts import query_examples
from prime_audit.lamp.source import open_data
from prime_audit.lamp.tasks import Task
from prime_audit.report.table import Cell, Table
from prime_audit.seeds import rng_of
from prime_audit.studies import figures, usual
from prime_audit.studies.paired import Test, corrected, pooled
from prime_audit.studies.pairs import side, utility_tests
from prime_audit.studies.spec import Found, Report, Study, Variant

EXAMPLES = 5
"""Targets whose answers to a question are shown, per task and model."""
NEAREST = Variant("Top sim.", "nearest")
"""The nearest sharer alone, with their whole adapter."""
LIKE = "{} with Top sim."
"""Name of a metric whose references are the nearest sharer's answers."""


def report(found: Found) -> Report:
    """Build a table of similarity and one of answers for each model, and test the pairs on the similarity."""
    tables, tests, subplots = list[Table](), list[Test](), list[figures.Subplot]()
    for model in found.models:
        tasks = [_Answered(found, model, found.plan.task(name)) for name in found.plan.tasks]
        tables += [_likeness(tasks), _answers(tasks)]
        tests += [test for task in tasks for test in task.tests()]
        subplots += [_subplot(task) for task in tasks]
    more = "The questions shown are drawn by the seed, one per target, not chosen."
    drawing = figures.dots(subplots, len(found.plan.tasks))
    return Report(tuple(tables), corrected(tests), drawing, (*usual.notes(found), more))


@dataclass(frozen=True)
class _Answered:
    """One task's answers under one model."""

    found: Found
    model: str
    task: Task

    @property
    def variants(self) -> list[Variant]:
        """List the variants compared with the nearest sharer."""
        return [v for v in self.found.study.variants if v != NEAREST]

    def rows(self, variant: Variant) -> list[dict[str, Any]]:
        """Return a variant's rows of ``predictions.jsonl``."""
        return self.found.answers(self.model, variant, self.task.name)[0]

    def theirs(self) -> list[str]:
        """Return the nearest sharers' answers, in the order of the questions."""
        return [row["prediction"] for row in self.rows(NEAREST)]

    def like(self, variant: Variant, metric: str) -> Cell:
        """Score a variant's answers with the nearest sharers' answers as golds."""
        own = side(self.found, self.model, variant, self.task.name, self.theirs())
        estimate = pooled(own, metric)
        return Cell(estimate.value, estimate.ci, reason=estimate.reason)

    def same(self, variant: Variant) -> Cell:
        """Return the share of answers that equal the nearest sharer's word for word."""
        pairs = zip(self.rows(variant), self.theirs(), strict=True)
        equal = [row["prediction"].strip() == text.strip() for row, text in pairs]
        return Cell(sum(equal) / len(equal))

    def tests(self) -> Iterator[Test]:
        """Test the study's pairs on the similarity."""
        study, theirs = self.found.study, self.theirs()
        for first, second in study.pairs:
            pair = study.variant(first), study.variant(second)
            yield from utility_tests(self.found, self.model, self.task.name, *pair, theirs, LIKE)

    def prompts(self) -> dict[str, str]:
        """Question's id → the prompt of every source."""
        plan = self.found.plan
        data = open_data(plan.data, self.task.name, plan.seed, plan.settings, **plan.reading())
        return {e.id: e.prompt for user in data.targets for e in query_examples(self.task, user)}

    def drawn(self) -> list[int]:
        """Draw targets, and one question of each: positions among all questions."""
        rng = rng_of(self.found.plan.seed, "responses", self.task.name)
        targets = [row["target"] for row in self.rows(NEAREST)]
        people = list(dict.fromkeys(targets))
        some = rng.choice(len(people), size=min(EXAMPLES, len(people)), replace=False)
        own = [[n for n, target in enumerate(targets) if target == people[i]] for i in sorted(some.tolist())]
        return [int(rng.choice(places)) for places in own]


def _likeness(tasks: Sequence[_Answered]) -> Table:
    """Tabulate the similarity to the nearest sharers' answers, the share of equal answers, and their quality."""
    labels, rows = [], []
    for own in tasks:
        for v in own.variants:
            labels.append((own.task.name, v.key))
            good = [usual.figure_of(own.found, own.model, v, own.task.name, m) for m in own.task.metrics]
            lacking = [Cell()] * (max(len(t.task.metrics) for t in tasks) - len(good))
            like = [own.like(v, m) for m in own.task.metrics]
            rows.append((*like, *lacking, own.same(v), *good, *lacking))
    kinds = list(dict.fromkeys(own.task.metrics for own in tasks))
    most = max(map(len, kinds))
    names = [
        " / ".join(usual.SHORT.get(metrics[i], metrics[i]) for metrics in kinds if i < len(metrics))
        for i in range(most)
    ]
    beside = [("With Top sim.", name) for name in (*names, "same")]
    heads = (*beside, *(("With the gold", name) for name in names))
    return Table(_title(tasks[0], "likeness"), ("Task", "Source"), heads, tuple(labels), tuple(rows))


def _answers(tasks: Sequence[_Answered]) -> Table:
    """Show the answers to some questions, as Tables 3 and 8 do, each with its similarity to the nearest sharer's."""
    labels, rows = [], []
    for own in tasks:
        prompts, theirs = own.prompts(), own.rows(NEAREST)
        for n in own.drawn():
            texts = {"Prompt": prompts[theirs[n]["id"]], "Gold": theirs[n]["gold"]}
            texts |= {v.key: own.rows(v)[n]["prediction"] for v in own.found.study.variants}
            for source, text in texts.items():
                labels.append((f"{own.task.name} {theirs[n]['id']}", source))
                plain = source in ("Prompt", NEAREST.key)
                scored = metric_table(own.task, [theirs[n]["prediction"]], [text])
                rows.append((Cell(text=text), Cell(None if plain else scored.value(own.task.metrics[0]))))
    heads = (("", "Output"), ("", "Likeness"))
    return Table(_title(tasks[0], "answers"), ("Question", "Source"), heads, tuple(labels), tuple(rows))


def _title(own: _Answered, what: str) -> str:
    return f"{usual.title(own.found, own.model)}: {what}"


def _subplot(own: _Answered) -> figures.Subplot:
    metric = own.task.metrics[0]
    marks = []
    for v in own.variants:
        like = own.like(v, metric)
        assert like.value is not None
        marks.append(
            figures.Mark(label=v.key, group=v.method.partition(":")[0], x=None, value=like.value, bar=like.ci)
        )
    name = usual.heading(own.found, own.task.name, own.model)
    return figures.Subplot(name, f"{usual.SHORT.get(metric, metric)} with Top sim.", tuple(marks))


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
    about=(
        "Top sim. is the most similar sharer's own adapter, given the target's question. "
        "Similarity is the task's metric with Top sim.'s answer as the gold.",
    ),
    report=report,
)
