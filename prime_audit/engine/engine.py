"""Generation and scoring: requests of different users and candidates share one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from prime_audit.engine.bank import AdapterBank, MixtureBranch
from prime_audit.engine.base import Base
from prime_audit.engine.batches import Tick, batches, nothing
from prime_audit.engine.codec import Encoded, pad_left, positions
from prime_audit.engine.mixture import BASE as BASE
from prime_audit.engine.mixture import Request as Request
from prime_audit.engine.sampling import Sampling, choose, uniforms


@dataclass
class Engine:
    """A base, its bank, and how much fits into a batch."""

    base: Base
    bank: AdapterBank
    batch_tokens: int = 16384
    """Padded tokens a batch may hold."""
    sampling: Sampling | None = None
    """None: greedy decoding."""

    @torch.inference_mode()
    def generate(self, requests: Sequence[Request], max_new: int, tick: Tick = nothing) -> list[str]:
        """Answer each request with at most ``max_new`` tokens; the stripped texts, in the order asked.

        Raises ValueError where sampling is asked for and a request has no key.
        """
        encoded = [self.base.codec.prompt(r.prompt, max_new) for r in requests]
        answers = [""] * len(requests)
        for batch in self._plan(requests, encoded, extra=max_new):
            rows = self._decode([requests[i] for i in batch], [encoded[i] for i in batch], max_new)
            for i, ids in zip(batch, rows, strict=True):
                answers[i] = self.base.codec.decode(ids)
                self.base.spent.new_tokens += len(ids)
            tick(len(batch))
        return answers

    @torch.inference_mode()
    def score(self, requests: Sequence[Request], tick: Tick = nothing) -> list[np.ndarray]:
        """Return the log-probabilities of each gold's T tokens, end-of-text included: float64 [T], nats."""
        encoded = [self.base.codec.example(r.prompt, _gold(r)) for r in requests]
        scores: list[np.ndarray] = [np.zeros(0)] * len(requests)
        for batch in self._plan(requests, encoded):
            logits, golds = self._gold_logits([requests[i] for i in batch], [encoded[i] for i in batch])
            logp = (
                torch.log_softmax(logits.float(), -1)
                .gather(-1, golds[..., None])[..., 0]
                .double()
                .cpu()
                .numpy()
            )
            for row, i in enumerate(batch):
                scores[i] = logp[row, logp.shape[1] - encoded[i].gold :]
            tick(len(batch))
        return scores

    def _plan(
        self, requests: Sequence[Request], encoded: Sequence[Encoded], extra: int = 0
    ) -> list[list[int]]:
        """Batches of one rule and one set of adapters, so that no row pays for another's sharers."""
        self.base.spent.requests += len(requests)
        self.base.spent.prompt_tokens += sum(len(e.ids) for e in encoded)
        return list(
            batches(
                range(len(requests)),
                group=lambda i: (requests[i].mixture.rule, requests[i].mixture.names),
                length=lambda i: len(encoded[i].ids) + extra,
                tokens=self.batch_tokens,
            )
        )

    def _branch(self, requests: Sequence[Request]) -> MixtureBranch | None:
        return MixtureBranch(self.bank, [r.mixture for r in requests]) if requests[0].mixture.names else None

    def _gold_logits(self, requests: Sequence[Request], encoded: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        """Logits [n, G, vocabulary] that predict the last G tokens of each row, and those tokens [n, G]."""
        ids, mask = pad_left([e.ids for e in encoded], self.base.codec.pad, self.base.device)
        most = max(e.gold for e in encoded)
        with self.base.mounted(self._branch(requests)):
            out = self.base.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions(mask),
                use_cache=False,
                logits_to_keep=most + 1,
            )
        return out.logits[:, -most - 1 : -1], ids[:, -most:]

    def _decode(
        self, requests: Sequence[Request], encoded: Sequence[Encoded], max_new: int
    ) -> list[list[int]]:
        """Decode one batch; finished rows leave it, so that the slowest row does not hold the others."""
        from transformers import DynamicCache

        branch, stops = self._branch(requests), torch.tensor(self.base.stops, device=self.base.device)
        noise = uniforms(self.sampling, [r.key for r in requests], max_new, self.base.device)
        ids, mask = pad_left([e.ids for e in encoded], self.base.codec.pad, self.base.device)
        cache, rows = (
            DynamicCache(config=self.base.model.config),
            torch.arange(len(requests), device=ids.device),
        )
        place = positions(mask)
        answers: list[list[int]] = [[] for _ in requests]
        with self.base.mounted(branch):
            for step in range(max_new):
                out = self.base.model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=place,
                    past_key_values=cache,
                    logits_to_keep=1,
                )
                token = choose(
                    out.logits[:, -1], self.sampling, noise[rows, step] if noise is not None else None
                )
                going = ~torch.isin(token, stops)
                for row, t in zip(rows[going].tolist(), token[going].tolist(), strict=True):
                    answers[row].append(t)
                if not going.any():
                    break
                if not going.all():
                    keep = going.nonzero()[:, 0]
                    cache.batch_select_indices(keep)
                    rows, token = rows[keep], token[keep]
                    mask = mask[keep] if mask is not None else None
                    place = place[keep] if place is not None else None
                    if branch is not None:
                        branch.select(keep)
                ids = token[:, None]
                if mask is not None and place is not None:
                    mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
                    place = place[:, -1:] + 1
        return answers


def _gold(request: Request) -> str:
    if request.gold is None:
        raise ValueError(f"request {request.key} has no gold to score")
    return request.gold
