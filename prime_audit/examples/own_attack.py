"""Surprise: how much less the gold's worst token surprises the model than the base's worst surprises the base.

Your own attack in one file. The file's name is the attack's name, this first line its summary.

prime-audit doctor own_attack --plugin own_attack.py           higher = member? no signal where there is no leak?
prime-audit attack RUN --attacks loss,own_attack --plugin own_attack.py      on a finished run, without its model
python own_attack.py RUN                                       the same from Python
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from prime_audit.audit.signals import Signals
from prime_audit.plugins import attack


@attack(source="an example", needs=("logprobs", "base_logprobs"))
def own_attack(signals: Signals) -> np.ndarray:
    """Take the worst token's log-probability minus the base's worst, one float per item; higher = member."""
    pairs = zip(signals.logprobs, signals.base_logprobs, strict=True)
    # NaN means: no score for this item (here one without a token).
    return np.array([own.min() - base.min() if own.size and base.size else np.nan for own, base in pairs])


def main(run: str, **words: Any) -> Any:
    """Score it beside the paper's attack; both are one family of tests."""
    from prime_audit.runs.rescore import attack as score_again

    found = score_again(run, "loss,own_attack", plugins=[__file__], **words)
    for leak in found.record.leaks:
        print(
            f"{leak.method} {leak.game} {leak.attack}: AUC {leak.auc:.3f} {leak.ci}, q {leak.q}, {leak.verdict}"
        )
    return found


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("pass the folder of a finished run: python own_attack.py RUN")
    main(sys.argv[1])
