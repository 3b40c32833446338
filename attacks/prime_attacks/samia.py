"""SaMIA: from generated text alone, how much of the gold's second half the model writes when given the first.

Every model, the base too, generates five texts an item (``SAMPLES``), so it costs far more than all other attacks
together. It is also the only one that an attacker without log-probabilities can run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, halves
from prime_audit.plugins import attack


@attack(source="Kaneko et al. 2025 (arXiv 2404.11262)", needs=("continuations", "texts"))
def samia(signals: Signals) -> FloatArray:
    """Mean over the samples of ROUGE-1 recall: the share of the second half's words that a sample holds.

    Words are split at white space, case counts, and a sample is cut to as many words as the second half has. The
    paper cuts at a fixed length instead, because its texts are equally long. A gold of one word is its own second
    half. Undefined where nothing was sampled.
    """
    pairs = zip(signals.continuations, signals.texts, strict=True)
    return np.array([_recall(samples, halves(text)[1]) for samples, text in pairs], dtype=np.float64)


def _recall(samples: Sequence[str], words: Sequence[str]) -> float:
    if not samples or not words:
        return float("nan")
    found = [(Counter(text.split()[: len(words)]) & Counter(words)).total() for text in samples]
    return float(np.mean(found)) / len(words)
