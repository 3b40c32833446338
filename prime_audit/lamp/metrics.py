"""The benchmark's official metrics, to the last digit.

There are two deviations, both where the official code has no fixed number. ROUGE is the plain mean over examples; the
released code prints a bootstrap median, which changes from run to run. A rating that is not finite (``nan``, ``inf``,
or with an infinite square) counts as no number.

Official ROUGE reads the letters a to z and digits only: it sees nothing of a Chinese or a Russian text. chrF reads
every script; it is sacreBLEU's (:data:`CHRF_SIGNATURE`), averaged over examples, from 0 to 1.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from prime_audit.errors import UserError
from prime_audit.lamp.bm25 import Floats, Ints
from prime_audit.lamp.tasks import CHRF, ROUGE, Kind, Task

if TYPE_CHECKING:
    from sacrebleu.metrics.chrf import CHRF as CHRFScorer  # noqa: N811 - a class, not a constant

OUTSIDE = -1
"""Class of an output that is none of the task's labels."""
NEUTRAL_SCORE = 2.5
"""LaMP-3's value where the reference is not a number."""
CHRF_SIGNATURE = "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no"
"""sacreBLEU's signature of the chrF computed here: character n-grams up to 6, beta 2, white space ignored."""
_LARGEST = 1e150


@dataclass(frozen=True)
class MetricTable:
    """Per-example scores of one pool of examples, from which a pooled metric is quickly recomputed."""

    metrics: tuple[str, ...]
    columns: Mapping[str, Floats]
    """What each metric averages, ``[examples]``; ``f1``: hit, gold, prediction ``[examples, 3, labels]``."""

    def value(self, metric: str) -> float:
        """Return the metric over all examples."""
        column = self.columns[metric]
        if metric == "f1":
            return float(_macro_f1(column.sum(axis=0)))
        mean = float(np.mean(column))
        return math.sqrt(mean) if metric == "RMSE" else mean

    def resampled(self, metric: str, weights: Floats) -> Floats:
        """Return the metric under each row of ``weights``, ``[draws, examples]``: how often each example is drawn."""
        sums = np.tensordot(weights, self.columns[metric], axes=1).astype(np.float64, copy=False)
        return _pooled(metric, sums, weights.sum(axis=1))

    def without(self, metric: str, users: Ints) -> Floats:
        """Return the metric without each user's examples, ``[users]``; ``users``: each example's, from 0."""
        column = self.columns[metric]
        own = np.zeros((int(users.max()) + 1, *column.shape[1:]))
        np.add.at(own, users, column)
        return _pooled(metric, column.sum(axis=0) - own, users.size - np.bincount(users))


def _pooled(metric: str, sums: Floats, examples: Floats | Ints) -> Floats:
    """Return the metric from sums over examples, ``[draws]``, and their numbers."""
    if metric == "f1":
        return _macro_f1(sums)
    means: Floats = sums / examples
    return (
        np.sqrt(np.maximum(means, 0.0)) if metric == "RMSE" else means
    )  # a sum less its parts may be −1e-16


def metric_table(
    task: Task, golds: Sequence[str], preds: Sequence[str], *, official: bool = False
) -> MetricTable:
    """Score every example. ``golds`` may be another model's outputs, unless they are ``official``.

    Two outputs outside the labels agree. As an official gold, one outside the labels is wrong in accuracy, whatever
    was predicted, and no class of F1, which is over the labels.
    """
    table = MetricTable(task.metrics, _columns(_SCORERS[task.kind], task, golds, preds))
    if official and task.kind == "classification":
        table.columns["accuracy"][_classes(task, golds) == OUTSIDE] = 0.0
    return table


def score(task: Task, golds: Sequence[str], preds: Sequence[str]) -> dict[str, float]:
    """Return the task's metrics, pooled over the examples."""
    table = metric_table(task, golds, preds)
    return {metric: table.value(metric) for metric in table.metrics}


def utility(task: Task, golds: Sequence[str], preds: Sequence[str], *, search: bool = False) -> float:
    """Return PriME's f: the sum of the task's metrics, higher is better (the sign of errors is flipped).

    ``search`` is for a target's own history. LaMP-1's golds are citations there, compared as texts.
    """
    if search and task.name == "LaMP-1":
        columns = _columns(_generation_columns, task, golds, preds)
        return sum(float(np.mean(column)) for column in columns.values())
    total = sum(score(task, golds, preds).values())
    return total if task.higher_is_better else -total


@functools.lru_cache(maxsize=200_000)
def rouge(gold: str, pred: str) -> tuple[float, float]:
    """Return the F-measures of ROUGE-1 and ROUGE-L, bit-equal to ``rouge_score`` without stemmer; cached.

    A search produces the same answer to the same item many times.
    """
    from rapidfuzz.distance import LCSseq

    gold_words, pred_words = _words(gold.strip()), _words(pred.strip())
    if not gold_words or not pred_words:
        return 0.0, 0.0
    shared = sum((Counter(gold_words) & Counter(pred_words)).values())
    longest = LCSseq.similarity(gold_words, pred_words)
    lengths = len(pred_words), len(gold_words)
    return _f_measure(shared, *lengths), _f_measure(longest, *lengths)


def compares_nothing(task: Task, golds: Sequence[str]) -> bool:
    """Return whether a search against these golds is always 0: ROUGE compares, and sees no word in any of them."""
    by_text = task.kind == "generation" or task.name == "LaMP-1"
    return by_text and task.text_metric == ROUGE and not any(_words(gold.strip()) for gold in golds)


def unseen(text: str) -> bool:
    """Return whether official ROUGE sees less than half of a text's letters and digits, or nothing of it."""
    if text.isascii():  # most texts, quickly
        return not any(map(str.isalnum, text)) and bool(text.strip())
    letters = [character for character in text if character.isalnum()]
    return 2 * sum(map(str.isascii, letters)) < len(letters) if letters else bool(text.strip())


def unseen_line(counts: Mapping[str, int], total: int) -> str:
    """Say how many texts of each kind (such as golds) official ROUGE cannot see, and what to do; empty for none."""
    if not any(counts.values()):
        return ""
    which = " and ".join(f"{count} of {total} {what}" for what, count in counts.items())
    return (
        "official ROUGE reads only a to z and digits; it reads less than half of the letters of "
        f"{which}: pass --metric chrf"
    )


@functools.lru_cache(maxsize=200_000)
def chrf(gold: str, pred: str) -> float:
    """Return the sentence-level chrF of sacreBLEU as a share; cached, as :func:`rouge`."""
    return float(_scorer().sentence_score(pred.strip(), [gold.strip()]).score) / 100


@functools.cache
def _scorer() -> CHRFScorer:
    import sacrebleu.metrics.chrf

    return sacrebleu.metrics.chrf.CHRF()


def _columns(scorer: Scorer, task: Task, golds: Sequence[str], preds: Sequence[str]) -> dict[str, Floats]:
    if len(golds) != len(preds):
        raise ValueError(f"{len(golds)} golds but {len(preds)} predictions")
    if not golds:
        raise UserError(f"{task.name}: no example to score")
    return scorer(task, golds, preds)


def _classification_columns(task: Task, golds: Sequence[str], preds: Sequence[str]) -> dict[str, Floats]:
    gold, pred = _classes(task, golds), _classes(task, preds)
    labels = np.arange(len(task.labels))
    is_gold, is_pred = gold[:, None] == labels, pred[:, None] == labels
    counts = np.stack([is_gold & is_pred, is_gold, is_pred], axis=1).astype(np.float64)
    # A reference outside the labels also agrees: both are class -1.
    return {"accuracy": (gold == pred).astype(np.float64), "f1": counts}


def _classes(task: Task, outputs: Sequence[str]) -> Ints:
    places = {label: place for place, label in enumerate(task.labels)}
    return np.array([places.get(output.strip(), OUTSIDE) for output in outputs], dtype=np.int64)


def _macro_f1(sums: Floats) -> Floats:
    """Average F1 over *all* labels (0 for an absent one) from ``[..., 3, labels]`` hits, golds, predictions."""
    hits, others = 2 * sums[..., 0, :], sums[..., 1, :] + sums[..., 2, :]
    scores = np.divide(hits, others, out=np.zeros_like(hits), where=others > 0)
    means: Floats = np.mean(scores, axis=-1)
    return means


def _rating_columns(_task: Task, golds: Sequence[str], preds: Sequence[str]) -> dict[str, Floats]:
    errors = np.array([_rating_error(gold, pred) for gold, pred in zip(golds, preds, strict=True)])
    return {"MAE": np.abs(errors), "RMSE": errors**2}


def _rating_error(gold_text: str, pred_text: str) -> float:
    gold, pred = _number(gold_text), _number(pred_text)
    if gold is None:
        return 0.0 if pred is None else pred - NEUTRAL_SCORE
    if pred is None:
        pred = 1.0 if abs(1 - gold) > abs(5 - gold) else 5.0
    return pred - gold


def _number(text: str) -> float | None:
    try:
        number = float(text.strip())
    except ValueError:
        return None
    return number if abs(number) < _LARGEST else None  # also false for nan


def _generation_columns(task: Task, golds: Sequence[str], preds: Sequence[str]) -> dict[str, Floats]:
    if task.text_metric == CHRF:
        return {"chrf": np.array([chrf(gold, pred) for gold, pred in zip(golds, preds, strict=True)])}
    pairs = np.array([rouge(gold, pred) for gold, pred in zip(golds, preds, strict=True)])
    return {"rouge-1": pairs[:, 0], "rouge-L": pairs[:, 1]}


@functools.lru_cache(maxsize=200_000)
def _words(text: str) -> tuple[str, ...]:
    # Not ``rouge_score.tokenizers``, which imports all of nltk for its stemmer. This is what it calls without one.
    from rouge_score.tokenize import tokenize

    return tuple(tokenize(text, None))


def _f_measure(shared: int, pred_words: int, gold_words: int) -> float:
    precision, recall = shared / pred_words, shared / gold_words
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


Scorer: TypeAlias = Callable[[Task, Sequence[str], Sequence[str]], dict[str, Floats]]
_SCORERS: dict[Kind, Scorer] = {
    "classification": _classification_columns,
    "rating": _rating_columns,
    "generation": _generation_columns,
}
