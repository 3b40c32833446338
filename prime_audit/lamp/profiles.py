"""Profile texts made without a language model: the same form as Table 11 asks for, from counts."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from prime_audit.lamp.data import Item
from prime_audit.lamp.tasks import Task

FREQUENT_WORDS = 8
"""How many of a user's words a summary names."""

# Words of three letters and more: shorter ones are never counted.
_FUNCTION_WORDS = """
about after all also and any are because been but can could did does for from had has have her him his how
into its just like more most new not one only our out over she should some such than that the their them
then there these they this those through use using via was were what when where which while who why will
with would you your
"""
_STOP_WORDS = frozenset(_FUNCTION_WORDS.split())


def summary_profile(task: Task, history: Sequence[Item]) -> str:
    """Summarise a history by counting; deterministic, for when no model writes profiles.

    LaMP-2 and LaMP-3 answer in the form that Table 11 demands; the others name the interests or the style
    that it asks for: frequent words, typical length, capitals and closing punctuation.
    """
    if not history:
        return "no history"
    golds = [item.fields.get(task.gold_field, item.fields[task.text_field]).strip() for item in history]
    if task.kind == "rating":
        return _scores(golds)
    if task.labels and task.gold_field in task.item_fields:
        return f"most popular tag: {_most_common(golds, task.labels)}"
    if task.name == "LaMP-1":
        texts = [
            item.fields[name] for item in history for name in ("title", "citation") if name in item.fields
        ]
        return f"research interests and topics: {', '.join(_frequent_words(texts))}"
    return _style(task.gold_field, golds)


def _scores(golds: Sequence[str]) -> str:
    """Name the commonest score above and below the middle; a side without scores is left out."""
    scale = ("1", "2", "3", "4", "5")
    parts = []
    for side, scores in (("positive", scale[3:]), ("negative", scale[:2])):
        given = [gold for gold in golds if gold in scores]
        if given:
            parts.append(f"most common {side} score: {_most_common(given, scores)}")
    return ", ".join(parts) or f"most common score: {_most_common(golds, scale)}"


def _most_common(golds: Iterable[str], labels: Sequence[str]) -> str:
    counts = Counter(golds)
    return max(labels, key=lambda label: counts[label])  # of equal counts the first label


def _style(name: str, golds: Sequence[str]) -> str:
    lengths = [len(gold.split()) for gold in golds]
    noun = "tweets" if name == "text" else "titles"
    parts = [f"{noun} of about {round(statistics.median(lengths))} words ({min(lengths)} to {max(lengths)})"]
    titled = sum(_share(word[:1].isupper() for word in _long_words(gold)) > 0.8 for gold in golds)
    parts.append("in title case" if 2 * titled > len(golds) else "in sentence case")
    for mark, habit in (("?", "a question"), ("!", "an exclamation"), (":", "a colon"), ("#", "a hashtag")):
        share = _share(mark in gold for gold in golds)
        if share >= 0.1:
            parts.append(f"{share:.0%} with {habit}")
    words = _frequent_words(golds)
    return ", ".join(parts) + (f"; frequent words: {', '.join(words)}" if words else "")


def _share(marks: Iterable[bool]) -> float:
    found = list(marks)
    return sum(found) / len(found) if found else 0.0


def _long_words(text: str) -> list[str]:
    return [word for word in re.findall(r"[^\W\d_]+", text) if len(word) > 3]


def _frequent_words(texts: Iterable[str]) -> list[str]:
    words = (word for text in texts for word in re.findall(r"[^\W\d_]{3,}", text.lower()))
    counts = Counter(word for word in words if word not in _STOP_WORDS)
    return [word for word, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:FREQUENT_WORDS]]
