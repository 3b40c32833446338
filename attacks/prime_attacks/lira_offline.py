"""Community LiRA, offline, of owners: how far an item is likelier than under modules without its owner.

The shadow models cost nothing. Over many targets, the modules without the item's owner, and the unmerged base, are
its OUT models. They share the base and other sharers with the audited module, so they are not independent draws as in
Carlini et al. The score is a ranking, not a calibrated likelihood ratio. φ is -NLL: logit(e^-NLL) is infinite where a
model is certain, as on labels of one token.
"""

from __future__ import annotations

from prime_attacks._gaussian import fit
from prime_audit.audit.auc import FloatArray
from prime_audit.audit.signals import Signals, mean_nll
from prime_audit.plugins import attack


@attack(source="Carlini et al. 2022 (offline), on community modules", needs=("logprobs", "out_nll"))
def lira_offline(signals: Signals) -> FloatArray:
    """(φ - μ_out)/σ_out, which orders items as the one-sided tail probability does; σ as in ``_gaussian.fit``."""
    mean, deviation = fit(signals.out_nll)
    return (-mean_nll(signals.logprobs) - mean) / deviation
