"""The six LaMP tasks as one table, ``tasks.toml``: fields, labels, metrics and every template that decides a token.

Templates are those of the paper's Tables 11 and 12. Line breaks, item templates, retrieval queries and training
templates are those of the released Per-Pcs code, whose results the paper compares with.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from prime_audit.errors import unknown

Kind: TypeAlias = Literal["classification", "rating", "generation"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One LaMP task: a row of the table."""

    name: str
    """The name in records and on leaderboards, for example ``LaMP-2``."""
    short: str
    """The name of the task in Per-Pcs and OPPU, which is also the name of its folder."""
    aliases: tuple[str, ...] = ()
    """Further spellings accepted by :func:`find_task`."""
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

    @property
    def official(self) -> str:
        """The name in official output files, for example ``LaMP_2``."""
        return self.name.replace("-", "_")

    @property
    def metrics(self) -> tuple[str, str]:
        """The task's two metrics, in the paper's order."""
        return _METRICS[self.kind]

    @property
    def higher_is_better(self) -> bool:
        """Return whether both metrics are gains (false for LaMP-3, whose metrics are errors)."""
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


_METRICS: dict[Kind, tuple[str, str]] = {
    "classification": ("accuracy", "f1"),
    "rating": ("MAE", "RMSE"),
    "generation": ("rouge-1", "rouge-L"),
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
"""Every task by its name, in the benchmark's order (LaMP-6's data is not public)."""

_SPELLINGS = {
    spelling.lower(): task
    for task in TASKS.values()
    for spelling in (task.name, task.short, task.official, task.name.replace("-", ""), *task.aliases)
}


def find_task(name: str) -> Task:
    """Return the task of this name, in any spelling and case. Raises the unknown-name error otherwise."""
    task = _SPELLINGS.get(name.strip().lower())
    if task is None:
        raise unknown("task", name, [*TASKS, *(task.short for task in TASKS.values())])
    return task
