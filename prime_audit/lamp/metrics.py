"""The benchmark's official metrics, to the last digit.

There are two deviations, both where the official code has no fixed number. ROUGE is the plain mean over examples; the
released code prints a bootstrap median, which changes from run to run. A rating that is not finite (``nan``, ``inf``,
or with an infinite square) counts as no number.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prime_audit.errors import UserError
from prime_audit.lamp.bm25 import Floats, Ints
from prime_audit.lamp.tasks import Kind, Task

OUTSIDE = -1
"""Class of an output that is none of the task's labels."""
NEUTRAL_SCORE = 2.5
"""LaMP-3's value where the reference is not a number."""
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
        column = self.columns[metric]
        sums = np.tensordot(weights, column, axes=1).astype(np.float64, copy=False)
        if metric == "f1":
            return _macro_f1(sums)
        means: Floats = sums / weights.sum(axis=1)
        return np.sqrt(means) if metric == "RMSE" else means


def metric_table(task: Task, golds: Sequence[str], preds: Sequence[str]) -> MetricTable:
    """Score every example. ``golds`` may be another model's outputs."""
    return MetricTable(task.metrics, _columns(task.kind, task, golds, preds))


def score(task: Task, golds: Sequence[str], preds: Sequence[str]) -> dict[str, float]:
    """Return the task's metrics, pooled over the examples."""
    table = metric_table(task, golds, preds)
    return {metric: table.value(metric) for metric in table.metrics}


def utility(task: Task, golds: Sequence[str], preds: Sequence[str], *, search: bool = False) -> float:
    """Return PriME's f: the sum of the task's two metrics, higher is better (the sign of errors is flipped).

    ``search`` is for a target's own history. LaMP-1's golds are citations there, compared by both ROUGEs.
    """
    if search and task.name == "LaMP-1":
        return sum(float(np.mean(column)) for column in _columns("generation", task, golds, preds).values())
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


def _columns(kind: Kind, task: Task, golds: Sequence[str], preds: Sequence[str]) -> dict[str, Floats]:
    if len(golds) != len(preds):
        raise ValueError(f"{len(golds)} golds but {len(preds)} predictions")
    if not golds:
        raise UserError(f"{task.name}: no example to score")
    return _SCORERS[kind](task, golds, preds)


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


def _generation_columns(_task: Task, golds: Sequence[str], preds: Sequence[str]) -> dict[str, Floats]:
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


_SCORERS: dict[Kind, Callable[[Task, Sequence[str], Sequence[str]], dict[str, Floats]]] = {
    "classification": _classification_columns,
    "rating": _rating_columns,
    "generation": _generation_columns,
}
