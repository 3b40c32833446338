"""Generation and scoring: requests of different users and candidates share one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from prime_audit.engine.bank import AdapterBank, MixtureBranch
from prime_audit.engine.base import Base
from prime_audit.engine.batches import Tick, batches, nothing
from prime_audit.engine.codec import Encoded, pad_left, positions
from prime_audit.engine.mixture import BASE as BASE
from prime_audit.engine.mixture import Continuation as Continuation
from prime_audit.engine.mixture import Mixture
from prime_audit.engine.mixture import Observation as Observation
from prime_audit.engine.mixture import Probe as Probe
from prime_audit.engine.mixture import Request as Request
from prime_audit.engine.observe import Plan, read
from prime_audit.engine.sampling import Sampling, choose, uniforms
from prime_audit.engine.tree import reach


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
        for batch in self._plan([r.mixture for r in requests], [e.ids for e in encoded], extra=max_new):
            rows = self._decode([requests[i] for i in batch], [encoded[i] for i in batch], max_new)
            for i, ids in zip(batch, rows, strict=True):
                answers[i] = self.base.codec.decode(ids)
                self.base.spent.new_tokens += len(ids)
            tick(len(batch))
        return answers

    def score(self, requests: Sequence[Request], tick: Tick = nothing) -> list[np.ndarray]:
        """Return the log-probabilities of each gold's T tokens, end-of-text included: float64 [T], nats."""
        probes = [Probe(r.prompt, r.mixture, (Continuation(_gold(r)),)) for r in requests]
        return [seen.logprobs[0] for seen in self.observe(probes, tick=tick)]

    @torch.inference_mode()
    def observe(
        self, probes: Sequence[Probe], moments: bool = False, tick: Tick = nothing
    ) -> list[Observation]:
        """Score every continuation of every probe in one pass, with the first one's ``moments`` if asked for.

        Each number is what the continuation would get alone, in a batch of one. ``tick`` counts probes.
        """
        plan = Plan(self.base.codec, reach(self.base.model.config))
        planned = [plan.rows(p.prompt, p.golds) for p in probes]
        rows = [(i, n, tree) for i, (trees, _) in enumerate(planned) for n, tree in enumerate(trees)]
        mixtures, found = [probes[i].mixture for i, _, _ in rows], dict[tuple[int, int], Observation]()
        for batch in self._plan(mixtures, [tree.ids for _, _, tree in rows], [t.plain for _, _, t in rows]):
            part = [rows[k] for k in batch]
            with self.base.mounted(self._branch([mixtures[k] for k in batch])):
                seen = read(
                    self.base, [tree for _, _, tree in part], [moments and n == 0 for _, n, _ in part]
                )
            found |= {(i, n): one for (i, n, _), one in zip(part, seen, strict=True)}
            tick(sum(n == 0 for _, n, _ in part))
        return [
            Observation(tuple(found[i, n].logprobs[j] for n, j in spots), found[i, 0].mu, found[i, 0].sigma)
            for i, (_, spots) in enumerate(planned)
        ]

    def _plan(
        self,
        mixtures: Sequence[Mixture],
        rows: Sequence[Sequence[int]],
        kinds: Sequence[bool] | None = None,
        extra: int = 0,
    ) -> list[list[int]]:
        """Batches of one rule, one set of adapters and one kind, so that no row pays for another's sharers."""
        self.base.spent.requests += len(rows)
        self.base.spent.prompt_tokens += sum(map(len, rows))
        return list(
            batches(
                range(len(rows)),
                group=lambda i: (mixtures[i].rule, frozenset(mixtures[i].names), kinds and kinds[i]),
                length=lambda i: len(rows[i]) + extra,
                tokens=self.batch_tokens,
            )
        )

    def _branch(self, mixtures: Sequence[Mixture]) -> MixtureBranch | None:
        return MixtureBranch(self.bank, mixtures) if mixtures[0].names else None

    def _decode(
        self, requests: Sequence[Request], encoded: Sequence[Encoded], max_new: int
    ) -> list[list[int]]:
        """Decode one batch; finished rows leave it, so that the slowest row does not hold the others."""
        from transformers import DynamicCache

        branch = self._branch([r.mixture for r in requests])
        stops = torch.tensor(self.base.stops, device=self.base.device)
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
