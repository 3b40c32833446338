"""Zlib: the loss in units of the text's own information, -NLL / len(zlib(text))."""

from __future__ import annotations

import zlib as compressor

import numpy as np

from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, mean_nll
from prime_audit.plugins import attack


@attack(source="Carlini et al. 2021, section 5.2", needs=("logprobs", "texts"))
def zlib(signals: Signals) -> FloatArray:
    """-NLL / bytes of the gold text (UTF-8) after zlib at its default level."""
    sizes = np.array([len(compressor.compress(text.encode())) for text in signals.texts], dtype=np.float64)
    return -mean_nll(signals.logprobs) / sizes
