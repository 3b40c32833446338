"""Decoding one batch: prompts are read in parts, answers are written into a cache that grows in place.

Rows are padded on the right, so that the fast causal kernels read the prompts without a mask. The gap between a short
prompt and its answer is masked while the answer grows. The host only reads how many rows are still running, and on a
GPU only every few steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor

from prime_audit.engine.base import Base, Branch
from prime_audit.engine.batches import batches
from prime_audit.engine.codec import Encoded
from prime_audit.engine.kvcache import Reader, select
from prime_audit.engine.sampling import Sampling, choose

LOOK = {"cpu": 1}
"""Steps between two checks of how many rows have ended; a check makes the host wait for the device."""
LEAVE = 0.125
"""Share of rows that must be done before they are removed: moving the others' cache costs about a step."""


BranchOf = Callable[[Sequence[int]], "Branch | None"]
"""Rows of the batch → the branch for them, in this order."""


class Decoding:
    """Answers each prompt with at most ``max_new`` tokens, without stop tokens; ``noise``: [rows, max_new] if sampled.

    Prompts are read in parts of ``read_tokens`` padded tokens: the best size for reading is too few rows for writing.
    """

    def __init__(
        self,
        base: Base,
        branch_of: BranchOf,
        prompts: Sequence[Encoded],
        *,
        max_new: int,
        sampling: Sampling | None,
        noise: Tensor | None,
        read_tokens: int,
    ) -> None:
        self._base, self._sampling, self._read_tokens = base, sampling, read_tokens
        device = base.device
        # Longest first: a part to read is then a range of rows, written to the cache in place.
        order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i].ids), i))
        prompts = [prompts[i] for i in order]
        self._order = order
        self._noise = None if noise is None else noise[order]
        # It must not refer to this object: in a reference cycle the cache would outlive its batch.
        self._branch_of: BranchOf = lambda rows: branch_of([order[i] for i in rows])
        self._stops = torch.tensor(base.stops, device=device)
        self.broken: list[int] = []
        """After :meth:`run`, the prompts at which a logit was not finite."""
        self._max_new, self._look = max_new, LOOK.get(device.type, 8)
        self._ids, self._places = base.padded([p.ids for p in prompts])
        self._lengths = torch.tensor([len(p.ids) for p in prompts], device=device)
        self._last = [len(p.ids) - 1 for p in prompts]
        count, width = self._ids.shape
        self._mask = _gaps(self._lengths, width, max_new) if min(self._last) + 1 < width else None
        self._rows = torch.arange(count, device=device)
        self._done = torch.zeros(count, dtype=torch.bool, device=device)
        self._broken = torch.zeros(count, dtype=torch.bool, device=device)
        self._answers = torch.full((count, max_new), base.stops[0], device=device)

    def run(self) -> list[list[int]]:
        """Read the prompts, then write token after token until every row has ended."""
        logits = self._read()
        self._branch = self._branch_of(range(len(self._last)))
        with self._base.mounted(self._branch):
            self._write_all(logits)
        broken = self._broken.tolist()
        self.broken = [i for i, bad in zip(self._order, broken, strict=True) if bad]
        stops = set(self._base.stops)
        found = zip(self._order, self._answers.tolist(), strict=True)
        return [_until(row, stops) for _, row in sorted(found)]

    def _write_all(self, logits: Tensor) -> None:
        for step in range(self._max_new):
            if step:
                logits = self._step(step)
            noise = None if self._noise is None else self._noise[self._rows, step]
            self._token = choose(logits, self._sampling, noise)
            self._answers[self._rows, step] = self._token
            # The largest logit, or one that is not a number, decides the token: one look at it is enough.
            best = logits.gather(-1, self._token[:, None])[:, 0]
            self._broken[self._rows] |= ~(best.isfinite() | self._done)
            self._done |= torch.isin(self._token, self._stops)
            if (step + 1) % self._look == 0 and not self._leave():
                break

    def _read(self) -> Tensor:
        """Fill the cache with the prompts; logits after each one's last token."""
        count, width = self._ids.shape
        caches = self._base.caches
        reader = Reader(caches, count, width, self._max_new)
        found = list[Tensor]()
        for rows in batches(
            range(len(self._last)),
            group=lambda _: 0,
            length=lambda i: self._last[i] + 1,
            tokens=self._read_tokens if caches.apart else count * width,
            worth=self._base.worth if caches.apart else inf,
        ):
            last = [self._last[i] for i in rows]
            part = slice(rows[0], rows[-1] + 1)
            places = {name: t[part, : max(last) + 1] for name, t in self._places.items()}
            with self._base.mounted(self._branch_of(rows)):
                found.append(
                    self._base.logits_at(
                        self._ids[part, : max(last) + 1],
                        range(len(rows)),
                        last,
                        past_key_values=reader.part(part),
                        **places,
                    )
                )
        self._cache = reader.whole()
        return torch.cat(found)

    def _step(self, step: int) -> Tensor:
        """Logits after the last token, which is at the end of the cache, after its row's gap."""
        options: dict[str, Any] = {}
        if self._mask is not None:
            width = self._ids.shape[1] + step
            options["attention_mask"] = self._mask[..., :width]
        places = (self._lengths + (step - 1))[:, None]
        out = self._base.model(
            input_ids=self._token[:, None],
            position_ids=places,
            past_key_values=self._cache,
            use_cache=True,
            **options,
        )
        return out.logits[:, -1]  # type: ignore[no-any-return]

    def _leave(self) -> bool:
        """Remove rows that are done, if they are many; False where no row is left."""
        ended = int(self._done.sum())
        if ended == len(self._rows):
            return False
        if ended >= LEAVE * len(self._rows) and self._base.caches.apart:
            keep = (~self._done).nonzero()[:, 0]
            select(self._cache, keep)
            self._rows, self._token, self._lengths = self._rows[keep], self._token[keep], self._lengths[keep]
            self._done = self._done[keep]
            self._mask = None if self._mask is None else self._mask[keep]
            if self._branch is not None:
                self._branch.select(keep)
        return True


def _gaps(lengths: Tensor, width: int, max_new: int) -> Tensor:
    """Mask of what each row's new tokens see, bool [rows, 1, 1, width + max_new]: all but the prompt's padding."""
    column = torch.arange(width + max_new, device=lengths.device)[None]
    return ((column < lengths[:, None]) | (column >= width))[:, None, None]


def _until(row: Sequence[int], stops: set[int]) -> list[int]:
    """Cut an answer at its first stop token."""
    end = next((n for n, token in enumerate(row) if token in stops), len(row))
    return list(row[:end])
