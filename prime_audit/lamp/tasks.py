"""The tasks as one table, ``tasks.toml``: fields, labels, metrics and every template that decides a token.

Templates of the six LaMP tasks are those of the paper's Tables 11 and 12. Line breaks, item templates, retrieval
queries and training templates are those of the released Per-Pcs code, whose results the paper compares with. The table
says where those of LaMP-2N and LongLaMP are from.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from prime_audit.errors import UserError, unknown

Kind: TypeAlias = Literal["classification", "rating", "generation"]
ROUGE, CHRF = "rouge", "chrf"
TEXT_METRICS: Mapping[str, tuple[str, ...]] = {ROUGE: ("rouge-1", "rouge-L"), CHRF: ("chrf",)}
"""What may compare texts (``--metric``), and the metrics that it reports."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One LaMP task: a row of the table."""

    name: str
    """The name in records and on leaderboards, for example ``LaMP-2``."""
    short: str
    """The name of the task in Per-Pcs and OPPU, which is also the name of its folder."""
    aliases: tuple[str, ...] = ()
    """Further spellings accepted by :func:`find_task`."""
    also_stated: tuple[str, ...] = ()
    """Tasks that a file of this one may name instead: an older release used the name."""
    kind: Kind
    """What is predicted; decides the metrics."""
    item_fields: tuple[str, ...]
    """The fields of a history item that every item must have."""
    optional_fields: tuple[str, ...] = ()
    """Fields of a history item that a layout may lack (read where present)."""
    text_field: str
    """The item field used as the question."""
    gold_field: str
    """The item field used as the gold in training."""
    query_fields: tuple[str, ...]
    """The fields of a question, in the order of its text."""
    labels: tuple[str, ...] = ()
    """All allowed golds, in the benchmark's order; empty for generation."""
    instruction: str
    """The evaluation prompt (Table 12), formatted with the query fields."""
    history_item: str
    """One item of the history block, and the document BM25 searches; ends in a line break."""
    retrieval_query: str
    """The text BM25 searches with, formatted with a query's or an item's fields."""
    training: str
    """The prompt of a history item in training, formatted with the item's fields."""
    profile_prompt: str
    """Table 11's prompt for writing a profile; ``{history}`` is the bracketed list of items."""
    profile_item: str
    """One item of that list, in lower case."""
    question: str
    """The official question's text, formatted with the query fields."""
    question_pattern: str
    """Regular expression that finds the query fields in an official question."""
    augmented_training: bool
    """Whether a history item (except the first) also trains with an earlier item and the profile in front."""
    cut_questions: bool = True
    """Whether a question that adapts the base model is cut to 768 words (all tasks except LaMP-1)."""
    user_column: str = ""
    """The column of a LongLaMP file that names the user; empty for other tasks."""
    text_metric: str = ROUGE
    """What compares texts: a key of :data:`TEXT_METRICS`."""

    @property
    def official(self) -> str:
        """The name in official output files, for example ``LaMP_2``."""
        return self.name.replace("-", "_")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The task's metrics, in the paper's order."""
        return TEXT_METRICS[self.text_metric] if self.kind == "generation" else _METRICS[self.kind]

    def scored_by(self, text_metric: str) -> Task:
        """Return the task with another metric of texts; classes and ratings keep theirs."""
        return self if text_metric == self.text_metric else replace(self, text_metric=text_metric)

    def may_state(self, name: str) -> bool:
        """Return whether a file of this task may name the task ``name``."""
        return name in (self.name, *self.also_stated)

    @property
    def higher_is_better(self) -> bool:
        """Return whether the metrics are gains (false for LaMP-3, whose metrics are errors)."""
        return self.kind != "rating"

    def parse_question(self, text: str) -> dict[str, str] | None:
        """Find the query fields in an official question; None where its fixed text is missing.

        LaMP-1's titles may contain quotation marks, so a field is everything between the fixed texts. A question with
        two possible readings is malformed too. In the other tasks the text is what follows the first marker, as in
        the released code.
        """
        match = re.fullmatch(self.question_pattern, text, re.DOTALL)
        if match is None:
            return None
        lazy = re.fullmatch(self.question_pattern.replace(".*)", ".*?)"), text, re.DOTALL)
        if lazy is None or lazy.groupdict() != match.groupdict():
            return None
        return match.groupdict()

    def format_question(self, fields: Mapping[str, str]) -> str:
        """Write the official question with these query fields."""
        return self.question.format(**fields)


_METRICS: Mapping[Kind, tuple[str, ...]] = {
    "classification": ("accuracy", "f1"),
    "rating": ("MAE", "RMSE"),
}


def read_tables(path: Path) -> dict[str, Any]:
    """Read a TOML file of this package; its lists become tuples."""
    tables: dict[str, Any] = _frozen(tomllib.loads(path.read_text(encoding="utf-8")))
    return tables


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return {key: _frozen(own) for key, own in value.items()} if isinstance(value, dict) else value


_ROWS = read_tables(Path(__file__).with_name("tasks.toml"))
TASKS = {name: Task(name=name, **row) for name, row in _ROWS.items()}
"""Every task by its name: LaMP in the benchmark's order, then LongLaMP."""

_SPELLINGS = {
    spelling.lower(): task
    for task in TASKS.values()
    for spelling in (task.name, task.short, task.official, task.name.replace("-", ""), *task.aliases)
}
_OTHERS = (
    (
        r"lamp[-_ ]?6.*|.*email.*",
        "its emails are licensed (Avocado) and not public; choose another task, or bring your own data as plain items",
    ),
    (
        r"longlamp.*",
        "publications number LongLaMP's tasks in different ways; name one: "
        + ", ".join(task.name for task in TASKS.values() if task.user_column),
    ),
    (r"lamp[-_ ]?\d.*", "known: " + ", ".join(f"{task.name} ({task.short})" for task in TASKS.values())),
)
"""Names of tasks that are none here, as patterns, with what to do. The nearest spelling would be another task."""


def find_task(name: str) -> Task:
    """Return the task of this name, in any spelling and case. Raises the unknown-name error otherwise."""
    spelling = name.strip().lower()
    task = _SPELLINGS.get(spelling)
    if task is None:
        for pattern, what in _OTHERS:
            if re.fullmatch(pattern, spelling, re.DOTALL):
                raise UserError(f"unknown task {name[:60]!r}: {what}")
        raise unknown("task", name, [*TASKS, *(task.short for task in TASKS.values())])
    return task


def tasks_of_labels(labels: Collection[str]) -> list[str]:
    """Return the tasks that have all of these labels."""
    return [task.name for task in TASKS.values() if task.labels and {*labels} <= {*task.labels}]
