"""Trust: the most similar sharers, weighted by how much the base gains on the target's history with each alone.

Your own method in one file. The file's name is the method's name, this first line its summary.

prime-audit doctor own_method --plugin own_method.py          does it satisfy the contract?
prime-audit compare --methods own_method,soup,prime --plugin own_method.py
python own_method.py                                          the same from Python
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from prime_audit.community.sharers import bank_name
from prime_audit.engine.mixture import BASE, Mixture, Request, alone
from prime_audit.plugins import Param, Personal, Scene, method


@method(
    source="an example",
    params=(
        Param("k", "preset:prime.k", "number of most similar sharers"),
        Param("sharpness", 1.0, "how strongly a gain decides: 0 gives equal weights", bounds=(0, 100)),
    ),
)
def personalise(scene: Scene, *, k: int, sharpness: float) -> dict[str, Personal]:
    """Weigh each sharer by the softmax of their gain in nats per token on the target's own last items."""
    community = scene.community
    community.ready()  # trains the sharers' adapters unless they are cached
    made = {}
    with scene.stage("trust", len(community.targets)) as tick:
        for user in community.targets:
            near = community.nearest(user.id, k)
            gains = np.array([_gain(scene, user, sharer) for sharer in near])
            weights = np.exp(sharpness * (gains - gains.max(initial=0.0)))
            mixture = Mixture(tuple(bank_name(s) for s in near), weights / weights.sum())
            # sharers: the owners of the adapters in the model, who are the members of the membership games.
            made[user.id] = Personal(mixture, near, {"gains": gains.tolist()})
            tick(1)
    return made


def _gain(scene: Scene, user: Any, sharer: str) -> float:
    """Return how much more likely a sharer's adapter makes the target's own answers, per token."""
    examples = scene.community.last_examples(user)
    scores = [
        np.concatenate(scene.engine.score([Request(e.prompt, mixture, e.gold) for e in examples]))
        for mixture in (alone(bank_name(sharer)), BASE)
    ]
    return float(scores[0].mean() - scores[1].mean())


def main(**words: Any) -> Any:
    """Compare it with a plain soup of the same sharers."""
    from prime_audit import compare

    methods: Sequence[str] = ("soup", "own_method", "own_method:sharpness=10")
    run = compare(methods, plugins=[__file__], **{"tasks": "LaMP-4", "against": "soup"} | words)
    for c in run.record.comparisons:
        if c.baseline == "soup":
            print(f"{c.method} minus soup, {c.metric}: {c.difference} {c.ci}")
    return run


if __name__ == "__main__":
    main()
