"""Several continuations of one prompt in one row: the tokens they share, then each one's own.

Each continuation sees the shared tokens and itself (a 4-D attention mask), and its positions continue from the shared
ones, so its numbers are those of a row of its own. The prompt, most of the text, is read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

from prime_audit.engine.attention import fused
from prime_audit.engine.base import KINDS, Base
from prime_audit.engine.codec import Encoded, pad_left


@dataclass(frozen=True)
class Tree:
    """Continuations packed into one row; with one continuation, a plain row."""

    ids: tuple[int, ...]
    """The shared tokens, then the rest of each continuation."""
    rows: tuple[Encoded, ...]
    """The continuations, as each would be encoded alone; all different."""
    shared: int
    """Number of common first tokens; 0 in a plain row."""

    @property
    def plain(self) -> bool:
        """Whether it needs no mask and no positions of its own."""
        return len(self.rows) == 1

    def segments(self) -> list[int]:
        """Segment of each token: 0 for the shared ones, 1, 2, … for the continuations' own; [tokens]."""
        own = [len(row.ids) - self.shared for row in self.rows]
        return [0] * self.shared + [number + 1 for number, n in enumerate(own) for _ in range(n)]

    def places(self) -> list[int]:
        """Position of each token in its own continuation, [tokens]."""
        return [*range(self.shared), *(t for row in self.rows for t in range(self.shared, len(row.ids)))]

    def sources(self) -> list[int]:
        """Column of ``ids`` that predicts each gold token, continuation after continuation."""
        found, start = [], self.shared
        for row in self.rows:
            before = range(len(row.ids) - row.gold - 1, len(row.ids) - 1)
            found += [t if t < self.shared else start + t - self.shared for t in before]
            start += len(row.ids) - self.shared
        return found

    def golds(self) -> list[int]:
        """List the gold tokens, continuation after continuation."""
        return [token for row in self.rows for token in row.ids[len(row.ids) - row.gold :]]


def plant(rows: Sequence[Encoded], window: int | None) -> list[Tree]:
    """Pack different continuations into one tree where that is cheaper, else one plain row each.

    ``window``: reach of the model's attention in tokens; None for all, 0 where it supports no packed rows.
    """
    columns = zip(*(row.ids for row in rows), strict=False)
    shared = sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, columns))
    apart = sum(len(row.ids) for row in rows)
    packed = apart - (len(rows) - 1) * shared
    fits = window is None or max(len(row.ids) for row in rows) <= window
    # Truncated texts share almost nothing: one long row would cost more than it saves.
    if fits and packed <= 0.75 * apart:
        ids = rows[0].ids[:shared] + tuple(token for row in rows for token in row.ids[shared:])
        return [Tree(ids, tuple(rows), shared)]
    return [Tree(row.ids, (row,), 0) for row in rows]


def reach(config: Any, rotation_limit: int | None = None) -> int | None:
    """Longest text that this model supports packed: None for any length, 0 for none."""
    if config.model_type not in KINDS or not (fused(config) or config._attn_implementation == "eager"):
        return 0
    # Our mask replaces the window's: right only while the window hides nothing. One row has one rotation.
    return min((n for n in (window(config), rotation_limit) if n is not None), default=None)


def window(config: Any) -> int | None:
    """Reach of a known architecture's attention in tokens: None for all, 0 for other architectures."""
    return getattr(config, "sliding_window", None) if config.model_type in KINDS else 0


def tree_logits(base: Base, trees: Sequence[Tree]) -> Tensor:
    """Logits that predict the trees' gold tokens, [gold tokens, vocabulary], tree after tree.

    The branch has to be mounted. The output layer runs only at positions that predict a gold token.
    """
    width = max(len(tree.ids) for tree in trees)
    ids = pad_left([tree.ids for tree in trees], base.codec.pad, base.device)
    blank = [width - len(tree.ids) for tree in trees]
    whose, places = (
        torch.tensor(rows, device=base.device)
        for rows in (
            [[-1] * n + tree.segments() for n, tree in zip(blank, trees, strict=True)],
            [[0] * n + tree.places() for n, tree in zip(blank, trees, strict=True)],
        )
    )
    sees = (whose[:, None, :] == whose[:, :, None]) | ((whose == 0)[:, None, :] & (whose > 0)[:, :, None])
    sees &= torch.ones(width, width, dtype=torch.bool, device=base.device).tril()
    mask = torch.zeros(sees.shape, dtype=base.dtype, device=base.device)
    mask.masked_fill_(~sees, torch.finfo(base.dtype).min)
    rows = [i for i, tree in enumerate(trees) for _ in tree.sources()]
    columns = [n + t for n, tree in zip(blank, trees, strict=True) for t in tree.sources()]
    return base.logits_at(ids, rows, columns, attention_mask=mask[:, None], position_ids=places)
