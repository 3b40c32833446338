"""Generation and scoring: requests of different users and candidates share one batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf

import numpy as np
import torch
from torch import Tensor

from prime_audit.engine.attention import fused
from prime_audit.engine.bank import AdapterBank, MixtureBranch
from prime_audit.engine.base import Base
from prime_audit.engine.batches import Progress, Tick, batches, nothing, unite
from prime_audit.engine.codec import Codec, Encoded
from prime_audit.engine.decode import Decoding
from prime_audit.engine.finite import not_finite
from prime_audit.engine.memo import (
    NOWHERE,
    Keeper,
    Partial,
    Rows,
    key_of,
    of_words,
    once,
    pack,
    unpack,
    words,
)
from prime_audit.engine.mixture import Continuation, Mixture, Observation, Probe, Request, Written
from prime_audit.engine.observe import Plan, read
from prime_audit.engine.passes import Pass
from prime_audit.engine.rotations import reread_after
from prime_audit.engine.sampling import Sampling, uniforms
from prime_audit.engine.tree import Tree, reach, window

UNITED = 0.25
"""Cost that small sets of adapters may add to each other by sharing a batch, relative to the base's own."""

STINT = 2.5e12
"""Weights times padded tokens of the largest batch of generation on a CPU, where it has more than ``read_tokens``: some
half a minute on two cores. What is lost to an interruption, and goes without a sign of progress, is a batch."""


@dataclass(kw_only=True)
class Engine:
    """A base, its bank, and how much fits into a batch."""

    base: Base
    bank: AdapterBank
    batch_tokens: int = 16384
    """Padded tokens, answers included, in a batch of generation."""
    sampling: Sampling | None = None
    """None: greedy decoding."""
    keeper: Keeper | None = None
    """The cache of answers; None: no cache."""
    read_tokens: int = 4096
    """Padded tokens read in one pass: of scored texts, and of prompts in a batch of generation."""

    def generate(self, requests: Sequence[Request], max_new: int, tick: Tick = nothing) -> list[str]:
        """Answer each request with at most ``max_new`` tokens; the stripped texts, in order of requests.

        What is asked of one mixture more than once is answered once; when sampling only where the keys are equal, too.

        Raises ValueError when sampling if a request has no key.
        """
        return [text for text, _ in self.write(requests, max_new, tick)]

    def write(self, requests: Sequence[Request], max_new: int, tick: Tick = nothing) -> list[Written]:
        """Answer as ``generate`` does, and say of each text whether it ended by itself."""
        drawn = self.sampling is not None
        contents = self._contents(r.mixture for r in requests)
        asked = [(r.prompt, c, r.key if drawn else ()) for r, c in zip(requests, contents, strict=True)]
        firsts, places = once(asked)
        own, progress = [requests[i] for i in firsts], Progress(tick)
        if self.keeper is None:
            texts = self._generate(own, max_new, progress, NOWHERE)
        else:
            keeper, room = self.keeper, (self.batch_tokens, self.read_tokens)
            key = key_of(self.base, "generate", max_new, *room, self.sampling, (asked[i] for i in firsts))
            texts = keeper.texts(key, lambda: self._generate(own, max_new, progress, keeper.partial(key)))
        progress.finish(len(requests))
        return [texts[i] for i in places]

    @torch.inference_mode()
    def _generate(
        self, requests: Sequence[Request], max_new: int, tick: Tick, so_far: Partial
    ) -> list[Written]:
        prompts = [self.base.codec.prompt(r.prompt, max_new) for r in requests]
        answers = Rows[Written](
            so_far,
            lambda found: {"texts": words(found)},
            lambda state: [Written(text, ended) for text, ended in of_words(state, "texts")],
        )
        if answers.done:
            tick(len(answers.done))

        def length(i: int) -> int:
            return len(prompts[i].ids) + max_new

        def work(part: Sequence[int]) -> None:
            asked, begun = [requests[i] for i in part], [prompts[i] for i in part]
            decode = partial(self._decode, asked, begun, max_new)
            rows = self.base.worker.do(Write(decode, self.base.codec, asked, begun, max_new))
            self._count(p.ids for p in begun)
            self.base.spent.new_tokens += sum(map(len, rows))
            answers.add(part, [Written(self.base.codec.decode(ids), len(ids) < max_new) for ids in rows])
            tick(len(part))

        exact = self._exact(max(map(length, range(len(requests))), default=0))
        kinds = [len(p.ids) if exact or self._rereads(p, max_new) else 0 for p in prompts]
        room = self.base.room(self.batch_tokens, "generate")
        if self.base.device.type == "cpu":
            room = min(room, max(self.read_tokens, int(STINT / self.base.parameters())))
        # Writing needs many rows; prompts of different lengths are read separately (``decode``).
        for batch in self._plan([r.mixture for r in requests], length, room, kinds, inf):
            if left := answers.left(batch):
                self.base.fits["generate"].run(work, left, length)
        return answers.all()

    def score(self, requests: Sequence[Request], tick: Tick = nothing) -> list[np.ndarray]:
        """Return the log-probabilities of each gold's T tokens, end-of-text included: float64 [T], nats."""
        probes = [Probe(r.prompt, r.mixture, (Continuation(_gold(r)),)) for r in requests]
        return [seen.logprobs[0] for seen in self.observe(probes, tick=tick)]

    def observe(
        self, probes: Sequence[Probe], moments: bool = False, tick: Tick = nothing
    ) -> list[Observation]:
        """Score every continuation of every probe in one pass, optionally with ``moments`` and ``top`` of the first.

        Each number is what the continuation would get in a batch of one. ``tick`` counts probes.
        """
        contents = self._contents(p.mixture for p in probes)
        asked = [(p.prompt, c, p.golds) for p, c in zip(probes, contents, strict=True)]
        firsts, places = once(asked)
        own, progress = [probes[i] for i in firsts], Progress(tick)
        if self.keeper is None:
            seen = self._observe(own, moments, progress, NOWHERE)
        else:
            keeper = self.keeper
            key = key_of(self.base, "observe", moments, self.read_tokens, (asked[i] for i in firsts))
            seen = unpack(
                keeper.arrays(key, lambda: pack(self._observe(own, moments, progress, keeper.partial(key))))
            )
        progress.finish(len(probes))
        return [seen[i] for i in places]

    def _contents(self, mixtures: Iterable[Mixture]) -> list[str]:
        """Name mixtures by what is in them: equal ones have one name."""
        known = dict[int, str]()
        found = []
        for mixture in mixtures:  # one object is often asked many texts
            if id(mixture) not in known:
                known[id(mixture)] = hashlib.sha256(repr(self.content(mixture)).encode()).hexdigest()
            found.append(known[id(mixture)])
        return found

    def content(self, mixture: Mixture) -> tuple[object, ...]:
        """Identify a mixture, with adapters by content."""
        named = tuple(self.bank.hashes[name] for name in mixture.names)
        return mixture.rule, named, tuple(np.ravel(mixture.weights).tolist()), mixture.weights.shape

    @torch.inference_mode()
    def _observe(
        self, probes: Sequence[Probe], moments: bool, tick: Tick, so_far: Partial
    ) -> list[Observation]:
        plan = Plan(self.base.codec, reach(self.base.model.config, self.base.rotation_limit))
        planned = [plan.rows(p.prompt, p.golds) for p in probes]
        rows = [(i, n, tree) for i, (trees, _) in enumerate(planned) for n, tree in enumerate(trees)]
        found = Rows[Observation](so_far, pack, unpack)
        if found.done:
            tick(sum(rows[k][1] == 0 for k in found.done))

        def length(k: int) -> int:
            return len(rows[k][2].ids)

        def work(part: Sequence[int]) -> None:
            chosen = [rows[k] for k in part]
            trees, wanted = [tree for _, _, tree in chosen], [moments and n == 0 for _, n, _ in chosen]

            def look() -> list[Observation]:
                with self.base.mounted(self.branch([probes[i].mixture for i, _, _ in chosen])):
                    seen = read(self.base, trees, wanted)
                for (i, _, _), one in zip(chosen, seen, strict=True):
                    if not one.finite:
                        raise not_finite(self.base, probes[i].mixture)
                return seen

            seen = self.base.worker.do(Read(look, trees, wanted))
            self._count(tree.ids for tree in trees)
            found.add(part, seen)
            tick(sum(n == 0 for _, n, _ in chosen))

        room = self.base.room(self.read_tokens, "read")
        kinds = [tree.plain for _, _, tree in rows]
        for batch in self._plan([probes[i].mixture for i, _, _ in rows], length, room, kinds):
            if left := found.left(batch):
                self.base.fits["observe"].run(work, left, length)
        seen = {(i, n): found.done[k] for k, (i, n, _) in enumerate(rows)}
        return [
            replace(seen[i, 0], logprobs=tuple(seen[i, n].logprobs[j] for n, j in spots))
            for i, (_, spots) in enumerate(planned)
        ]

    def _count(self, rows: Iterable[Sequence[int]]) -> None:
        for row in rows:
            self.base.spent.requests += 1
            self.base.spent.prompt_tokens += len(row)

    def _exact(self, longest: int) -> bool:
        """Whether rows of a batch must have one length: only sdpa supports our mask, and a window would count gaps."""
        if not fused(self.base.model.config):
            return True
        most = window(self.base.model.config)
        return most is not None and longest > most

    def _rereads(self, prompt: Encoded, max_new: int) -> int:
        """Tokens to answer before the text is read again, as the model's own ``generate`` does; 0: it is not."""
        after = reread_after(self.base.model.config) if self.base.rotation_limit is not None else None
        before = 0 if after is None else after + 1 - len(prompt.ids)
        return before if 0 < before < max_new else 0

    def _plan(
        self,
        mixtures: Sequence[Mixture],
        length: Callable[[int], int],
        tokens: int,
        kinds: Sequence[int] | None = None,
        worth: float | None = None,
    ) -> Iterator[list[int]]:
        """Batches of one rule, one pool of adapters and one kind, so that no row pays for many other adapters."""
        pools = unite([frozenset(m.names) for m in mixtures], length, tokens, self._most())
        return batches(
            range(len(mixtures)),
            group=lambda i: (mixtures[i].rule, pools[frozenset(mixtures[i].names)], kinds and kinds[i]),
            length=length,
            tokens=tokens,
            worth=self.base.worth if worth is None else worth,
        )

    def _most(self) -> int:
        """Largest number of adapters in a batch that small sets share (``UNITED``)."""
        if not self.bank.names:
            return 0
        one = sum(x.numel() for ab in map(self.bank.factors, range(len(self.base.sites))) for x in ab)
        return int(UNITED * self.base.parameters() // (one / len(self.bank.names)))

    def branch(self, mixtures: Sequence[Mixture]) -> MixtureBranch | None:
        """Return the branch for a batch's rows, all of one rule; None for the bare base."""
        return MixtureBranch(self.bank, mixtures) if mixtures[0].names else None

    def _decode(
        self, requests: Sequence[Request], prompts: Sequence[Encoded], max_new: int
    ) -> list[list[int]]:
        noise = uniforms(self.sampling, [r.key for r in requests], max_new, self.base.device)
        mixtures = [r.mixture for r in requests]
        first = self._rereads(prompts[0], max_new)  # prompts that are read again share a batch by length
        found = self._write(mixtures, prompts, first or max_new, noise)
        rest = [i for i, row in enumerate(found) if first and len(row) == first]
        if rest:
            longer = [Encoded(prompts[i].ids + tuple(found[i]), 0) for i in rest]
            later = None if noise is None else noise[rest, first:]
            more = self._write([mixtures[i] for i in rest], longer, max_new - first, later)
            for i, row in zip(rest, more, strict=True):
                found[i] += row
        return found

    def _write(
        self, mixtures: Sequence[Mixture], prompts: Sequence[Encoded], max_new: int, noise: Tensor | None
    ) -> list[list[int]]:
        decoding = Decoding(
            self.base,
            lambda rows: self.branch([mixtures[i] for i in rows]),
            prompts,
            max_new=max_new,
            sampling=self.sampling,
            noise=noise,
            read_tokens=self.read_tokens,
        )
        found = decoding.run()
        if decoding.broken:
            raise not_finite(self.base, mixtures[min(decoding.broken)])
        return found


@dataclass(frozen=True)
class Read(Pass[list[Observation]]):
    """Score one batch of rows."""

    trees: Sequence[Tree]
    """The rows, all plain or all packed."""
    wanted: Sequence[bool]
    """Whether a row's first continuation gets moments."""


@dataclass(frozen=True)
class Write(Pass[list[list[int]]]):
    """Answer one batch of prompts: token ids without stop tokens."""

    codec: Codec
    requests: Sequence[Request]
    prompts: Sequence[Encoded]
    """One per request."""
    max_new: int


def _gold(request: Request) -> str:
    if request.gold is None:
        raise ValueError(f"request {request.key} has no gold to score")
    return request.gold
