"""One pass for all signals: log-probabilities, and what the vocabulary says at gold positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from prime_audit.engine.base import Base
from prime_audit.engine.codec import Codec, gold_places
from prime_audit.engine.mixture import Continuation, Observation
from prime_audit.engine.tree import Tree, plant, tree_logits


def read(base: Base, trees: Sequence[Tree], wanted: Sequence[bool]) -> list[Observation]:
    """Run one batch of rows, all plain or all packed, under the mounted branch.

    Returns each row's results; with moments and ``top`` of its first continuation where they are ``wanted``.
    """
    logits = (_plain_logits if trees[0].plain else tree_logits)(base, trees)
    golds = torch.tensor([token for tree in trees for token in tree.golds()], device=base.device)
    logp = torch.log_softmax(logits.float(), -1)
    own = logp.gather(-1, golds[:, None])[:, 0]
    scores = _numpy(own)
    spans = [[row.gold for row in tree.rows] for tree in trees]
    begins = np.cumsum([0, *(sum(span) for span in spans)])
    firsts = [np.arange(b, b + s[0]) for b, s, w in zip(begins, spans, wanted, strict=False) if w]
    more = iter(_vocabulary(logp, own, firsts) if firsts else ())
    found = []
    for begin, span, want in zip(begins, spans, wanted, strict=False):
        parts = np.split(scores[begin : begin + sum(span)], np.cumsum(span)[:-1])
        found.append(Observation(tuple(parts), *(next(more) if want else ())))
    return found


def _vocabulary(
    logp: Tensor, golds: Tensor, places: Sequence[np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Moments of log p [n, vocabulary] at each row's places, and whether the gold's ``golds`` [n] is the highest."""
    rows = torch.tensor(np.concatenate(places), device=logp.device)
    cuts = np.cumsum([len(p) for p in places])[:-1]
    chosen = logp[rows]
    top = (golds[rows] >= chosen.amax(-1)).cpu().numpy()
    found = (*(_numpy(m) for m in moments(chosen)), top)
    return list(zip(*(np.split(values, cuts) for values in found), strict=True))


def _numpy(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()


def moments(logp: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of log p over the vocabulary (for Min-K%++), from log p [n, vocabulary].

    In float32, relative to the likeliest token, and σ² about the mean: the difference of two sums would lose the
    digits that matter where a distribution is nearly flat, and may fall below 0. Returns float64 [n]; σ ≥ 0.
    """
    top = logp.amax(-1, keepdim=True)
    p, below = logp.exp(), logp - top
    mean = torch.einsum("nv,nv->n", p, below)
    below.sub_(mean[:, None]).square_()
    sigma = torch.einsum("nv,nv->n", p, below).double().sqrt()
    return top[:, 0].double() + mean.double(), sigma


def _plain_logits(base: Base, trees: Sequence[Tree]) -> Tensor:
    """Logits that predict the gold tokens of plain rows, [gold tokens, vocabulary], row after row."""
    examples = [tree.rows[0] for tree in trees]
    ids, options = base.padded([e.ids for e in examples])
    return base.logits_at(ids, *gold_places(examples), **options)


class Plan:
    """Which rows a set of probes needs, and where to find each continuation's numbers."""

    def __init__(self, codec: Codec, window: int | None) -> None:
        self._codec, self._window = codec, window
        self._known: dict[tuple[str, tuple[Continuation, ...]], tuple[list[Tree], list[tuple[int, int]]]] = {}

    def rows(self, prompt: str, golds: tuple[Continuation, ...]) -> tuple[list[Tree], list[tuple[int, int]]]:
        """Return a probe's rows, and for each continuation (row, place in that row).

        Two continuations with the same tokens (a tag in lower case) are read once. Probes of other mixtures with the
        same texts share the result.
        """
        key = (prompt, golds)
        if key not in self._known:
            encoded = [
                self._codec.example(f"{prompt} {gold.before}" if gold.before else prompt, gold.text)
                for gold in golds
            ]
            different = list(dict.fromkeys(encoded))
            trees = plant(different, self._window)
            spots = [(i, j) for i, tree in enumerate(trees) for j in range(len(tree.rows))]
            self._known[key] = trees, [spots[different.index(e)] for e in encoded]
        return self._known[key]
