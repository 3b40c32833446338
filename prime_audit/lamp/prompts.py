"""Prompts and training examples, to the exact character (paper, Tables 11 and 12, and the released code).

Where neither decides, the released Per-Pcs code does: the text of the retrieval query, the order of retrieved items
(best first), and the cut of every field of an item, gold included.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prime_audit.errors import UserError
from prime_audit.lamp.bm25 import Index
from prime_audit.lamp.data import Item, User
from prime_audit.lamp.tasks import Task

PROFILE_HEADING = "### User Profile:\n"
HISTORY_HEADING = "### User History:\n"
QUESTION_WORDS = 768
"""Word limit of adaptation questions, and of a history item that is the question of its own training prompt."""
HISTORY_WORDS = 368
"""Word limit of each field of an item in a history block, in a retrieval document, and for the encoder."""
PROFILE_WORDS = 200
"""Word limit of each field of an item from which a profile is written."""

Kind = Literal["plain", "augmented"]


@dataclass(frozen=True)
class Example:
    """One prompt with the text expected after it, for training or for querying a model."""

    id: str
    """Unique within a data set: ``user/item/kind`` for history items, the query's id for queries."""
    prompt: str
    """The text that the model sees."""
    gold: str
    item: str
    """The id of its history item or query."""
    kind: Kind
    """``plain``, or ``augmented`` with a profile or history items in front."""

    @property
    def text(self) -> str:
        """Return prompt and gold with one space between, as in training. The engine adds EOS."""
        return f"{self.prompt} {self.gold}"


def cut(text: str, words: int) -> str:
    """Return the first ``words`` white-space separated words, joined by single spaces (short texts too)."""
    return " ".join(text.split()[:words])


def item_text(task: Task, item: Item) -> str:
    """Write one item as a line of the history block, which BM25 searches and the encoder embeds."""
    return task.history_item.format(**_cut_fields(item.fields, HISTORY_WORDS))


def history_block(lines: Sequence[str]) -> str:
    """Write the history block of items (:func:`item_text`); ends with three line breaks; empty without items."""
    return f"{HISTORY_HEADING}{''.join(lines)}\n\n" if lines else ""


def question_prompt(
    task: Task, fields: Mapping[str, str], *, history: Sequence[Item] = (), profile: str | None = None
) -> str:
    """Write the evaluation prompt of a question (uncut), with profile and history in front."""
    front = _front(profile, history_block([item_text(task, item) for item in history]))
    return front + task.instruction.format(**fields)


def query_examples(
    task: Task, user: User, *, k: int = 0, profile: str | None = None, words: int | None = None
) -> list[Example]:
    """Write the evaluation prompts of a user's questions, ``k`` retrieved items and the profile in front.

    ``words``: the most words of each field of a question; by default all.
    """
    shown = [item_text(task, item) for item in user.history] if k > 0 else []
    index, examples = Index(shown), []
    for query in user.queries:
        fields = query.fields if words is None else _cut_fields(query.fields, words)
        best = index.top(task.retrieval_query.format(**fields), k) if shown else []
        front = _front(profile, history_block([shown[i] for i in best]))
        prompt, kind = front + task.instruction.format(**fields), _kind(front)
        examples.append(Example(query.id, prompt, query.gold, query.id, kind))
    return examples


def adaptation_examples(task: Task, user: User, profile: str | None) -> list[Example]:
    """Write the examples that adapt the base model: a question with the profile and the best item in front.

    Questions are cut to 768 words, except in LaMP-1. A user without profile or history gets only the block they have.
    """
    words = QUESTION_WORDS if task.cut_questions else None
    return query_examples(task, user, k=1, profile=profile, words=words)


def history_examples(
    task: Task,
    user: User,
    *,
    profile: str | None = None,
    augmented: bool = True,
    items: Collection[str] | None = None,
    pool: Collection[str] | None = None,
) -> list[Example]:
    """Write the training examples of a user's history, item by item, oldest first.

    Each item gives one plain example. Where the task has it and ``augmented`` is set, it also gives one with the
    profile and the best *earlier* item in front. An item without an earlier one in the pool gives the plain example
    only. ``items``: ids of the items that give examples; ``pool``: of those that may be put in front (leave held-out
    items out of it); by default all.
    """
    index, shown, examples = Index(), list[str](), list[Example]()
    for item in user.history:
        if items is None or item.id in items:
            fields = _cut_fields(item.fields, QUESTION_WORDS)
            prompt, gold = task.training.format(**fields), _gold(task, user, item, fields)
            examples.append(Example(f"{user.id}/{item.id}/plain", prompt, gold, item.id, "plain"))
            if augmented and task.augmented_training and shown:
                best = index.top(task.retrieval_query.format(**fields), 1)
                front = _front(profile, history_block([shown[i] for i in best]))
                examples.append(
                    Example(f"{user.id}/{item.id}/augmented", front + prompt, gold, item.id, "augmented")
                )
        if pool is None or item.id in pool:
            shown.append(item_text(task, item))
            index.add(shown[-1])
    return examples


def item_examples(
    task: Task,
    user: User,
    items: Collection[str],
    *,
    store: Sequence[Item] = (),
    k: int = 0,
    profile: str | None = None,
) -> list[Example]:
    """Write a deployed system's prompts for a user's items: training prompts with its own retrieval in front.

    ``items`` are the ids of the queried items. ``store`` holds the records that the system retrieves from, the same for
    every item: it does not know which item is queried. It puts ``k`` of them in front, best first, and ``profile``.
    """
    shown = [item_text(task, item) for item in store] if k > 0 else []
    index, examples = Index(shown), []
    for item in user.history:
        if item.id in items:
            fields = _cut_fields(item.fields, QUESTION_WORDS)
            best = index.top(task.retrieval_query.format(**fields), k) if shown else []
            front = _front(profile, history_block([shown[i] for i in best]))
            kind = _kind(front)
            prompt, gold = front + task.training.format(**fields), _gold(task, user, item, fields)
            examples.append(Example(f"{user.id}/{item.id}/{kind}", prompt, gold, item.id, kind))
    return examples


def profile_request(task: Task, items: Sequence[Item]) -> str:
    """Write Table 11's prompt: the items (ten, drawn by the caller) as a bracketed list of quoted strings."""
    # The released code inserts Python's list notation, quotes included.
    return task.profile_prompt.format(history=[_profile_item(task, item) for item in items])


def _gold(task: Task, user: User, item: Item, fields: Mapping[str, str]) -> str:
    if task.gold_field not in fields:
        raise UserError(
            f"{task.name}: item {item.id} of user {user.id} has no {task.gold_field}, which "
            "training and searching need: use data that has it, such as the Per-Pcs layout"
        )
    return fields[task.gold_field]


def _profile_item(task: Task, item: Item) -> str:
    fields = _cut_fields(item.fields, PROFILE_WORDS)
    if task.gold_field not in fields:  # official LaMP-1: no citation
        return task.profile_item.partition(" reference:")[0].format(**fields)
    return task.profile_item.format(**fields)


def _kind(front: str) -> Kind:
    return "augmented" if front else "plain"


def _front(profile: str | None, history: str) -> str:
    return (f"{PROFILE_HEADING}{profile}\n\n" if profile is not None else "") + history


def _cut_fields(fields: Mapping[str, str], words: int) -> dict[str, str]:
    return {name: cut(text, words) for name, text in fields.items()}
