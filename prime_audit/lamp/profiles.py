"""Profile texts from counts, without a language model, in the form that Table 11 asks for."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prime_audit.lamp.data import Item
from prime_audit.lamp.tasks import Task, read_tables

_NOUNS = {
    "title": "titles",
    "text": "tweets",
    "abstract": "abstracts",
    "content": "posts",
    "reviewText": "reviews",
}
"""Gold field of a task of texts → what its golds are."""
FREQUENT_WORDS = 8
"""Words of a user that a summary names."""


@dataclass(frozen=True, kw_only=True)
class Wording:
    """Wording of a summary. Two wordings state the same facts and the same labels."""

    none: str
    """Of an empty history."""
    tag: str
    """``{what}`` (the field's name), ``{tag}``."""
    side: str
    """One side of a rating's middle: ``{side}``, ``{score}``."""
    score: str
    """Where no side has a score: ``{score}``."""
    topics: str
    """``{words}``."""
    length: str
    """``{noun}``, ``{typical}``, ``{low}``, ``{high}``."""
    case: tuple[str, str]
    """In title case, in sentence case."""
    habit: str
    """``{share}``, ``{mark}``."""
    words: str
    """Follows the others: ``{words}``."""


_TABLES = read_tables(Path(__file__).with_name("profiles.toml"))
_STOP_WORDS = frozenset(_TABLES["function_words"].split())
PLAIN, REWORDED = (Wording(**_TABLES[name]) for name in ("PLAIN", "REWORDED"))


def summary_profile(task: Task, history: Sequence[Item], wording: Wording = PLAIN) -> str:
    """Summarise a history by counting. Deterministic; used where no model writes profiles.

    LaMP-2 and LaMP-3 answer in the form that Table 11 demands. The others name the interests or the style that it
    asks for: frequent words, typical length, capitals and closing punctuation.
    """
    if not history:
        return wording.none
    golds = [item.fields.get(task.gold_field, item.fields[task.text_field]).strip() for item in history]
    if task.kind == "rating":
        return _scores(golds, wording)
    if task.labels and task.gold_field in task.item_fields:
        return wording.tag.format(what=task.gold_field, tag=_most_common(golds, task.labels))
    if task.name == "LaMP-1":
        texts = [
            item.fields[name] for item in history for name in ("title", "citation") if name in item.fields
        ]
        return wording.topics.format(words=", ".join(_frequent_words(texts)))
    return _style(task.gold_field, golds, wording)


def _scores(golds: Sequence[str], wording: Wording) -> str:
    """Name the most common score above and below the middle; a side without scores is left out."""
    scale = ("1", "2", "3", "4", "5")
    parts = []
    for side, scores in (("positive", scale[3:]), ("negative", scale[:2])):
        given = [gold for gold in golds if gold in scores]
        if given:
            parts.append(wording.side.format(side=side, score=_most_common(given, scores)))
    return ", ".join(parts) or wording.score.format(score=_most_common(golds, scale))


def _most_common(golds: Iterable[str], labels: Sequence[str]) -> str:
    counts = Counter(golds)
    return max(labels, key=lambda label: counts[label])  # of equal counts the first label


def _style(name: str, golds: Sequence[str], wording: Wording) -> str:
    lengths = [len(gold.split()) for gold in golds]
    noun, typical = _NOUNS[name], round(statistics.median(lengths))
    parts = [wording.length.format(noun=noun, typical=typical, low=min(lengths), high=max(lengths))]
    long_words = [re.findall(r"[^\W\d_]{4,}", gold) for gold in golds]
    titled = sum(_share(word[:1].isupper() for word in own) > 0.8 for own in long_words)
    parts.append(wording.case[0 if 2 * titled > len(golds) else 1])
    for mark, habit in (("?", "a question"), ("!", "an exclamation"), (":", "a colon"), ("#", "a hashtag")):
        share = _share(mark in gold for gold in golds)
        if share >= 0.1:
            parts.append(wording.habit.format(share=f"{share:.0%}", mark=habit))
    words = _frequent_words(golds)
    return ", ".join(parts) + (wording.words.format(words=", ".join(words)) if words else "")


def _share(marks: Iterable[bool]) -> float:
    found = list(marks)
    return sum(found) / len(found) if found else 0.0


def _frequent_words(texts: Iterable[str]) -> list[str]:
    words = (word for text in texts for word in re.findall(r"[^\W\d_]{3,}", text.lower()))
    counts = Counter(word for word in words if word not in _STOP_WORDS)
    return [word for word, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:FREQUENT_WORDS]]
