"""PriME's objective (Eq. 8), evaluated for the candidates of many targets in one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from prime_audit.community.sharers import bank_name
from prime_audit.engine.batches import Tick, nothing
from prime_audit.engine.mixture import BASE, Mixture, Request, alone
from prime_audit.lamp.metrics import compares_nothing, utility
from prime_audit.lamp.prompts import Example
from prime_audit.prime.search import Found, Search

if TYPE_CHECKING:
    from prime_audit.plugins import Scene


@dataclass(eq=False, kw_only=True)
class Hunt:
    """One target's search."""

    target: str
    sharers: tuple[str, ...]
    names: tuple[str, ...]
    """What is merged of each sharer: their adapter in the bank, or that adapter trimmed."""
    examples: list[Example]
    start: tuple[str, int, int, int]
    """Optimizer, dimension, budget, seed."""
    layers: int
    rule: str
    found: Found = field(init=False)

    def mixture(self, weights: np.ndarray) -> Mixture:
        """Turn a candidate, float [k] or [layers·k], into a mixture over the bank."""
        table = weights if self.layers == 1 else weights.reshape(self.layers, -1)
        return Mixture(self.names, table, self.rule)


def search_all(judge: Judge, hunts: Sequence[Hunt], tick: Tick) -> list[Found]:
    """Search for all targets in step."""
    traces = {h.target: list[dict[str, Any]]() for h in hunts}
    running = [(h, Search(*h.start)) for h in hunts]
    while active := [(h, own) for h, own in running if not own.done]:
        asked = [(h, own, own.ask()) for h, own in active]
        named = [
            (h, w, f"candidate {len(traces[h.target]) + n}")
            for h, _, points in asked
            for n, w in enumerate(points)
        ]
        scored = judge.evaluate(named)
        for h, own, points in asked:
            own.tell([p["objective"] for p in scored[: len(points)]])
            traces[h.target] += scored[: len(points)]
            scored = scored[len(points) :]
            tick(len(points))
    return [Found(traces[h.target], own.recommendation()) for h, own in running]


class Judge:
    """Evaluates candidates of many targets at once: utility, similarity to each sharer, objective."""

    def __init__(self, scene: Scene, alpha: float, hunts: Sequence[Hunt]) -> None:
        self._scene, self._alpha = scene, alpha
        self._max_new = scene.settings.get("max_new", scene.task.name)
        self._sharers = self._predictions(hunts) if alpha else {h.target: [] for h in hunts}

    def _predictions(self, hunts: Sequence[Hunt]) -> dict[str, list[list[str]]]:
        """Return what each merged sharer's own adapter answers to a target's examples; only the penalty reads it."""
        ask = [(h, alone(bank_name(s)), f"sharer {s}") for h in hunts for s in h.sharers]
        requests, slots = self._requests(ask)
        with self._scene.stage("sharers' predictions", len(requests)) as tick:
            texts = iter(self._texts(requests, slots, tick))
        return {h.target: [next(texts) for _ in h.sharers] for h in hunts}

    @property
    def draws(self) -> bool:
        """Whether answers are sampled."""
        return self._scene.engine.sampling is not None

    def constant(self, hunt: Hunt) -> bool:
        """Return whether every objective is 0, whatever is answered: ROUGE sees no word of any text compared."""
        compared = [[e.gold for e in hunt.examples], *self._sharers[hunt.target]]
        return all(compares_nothing(self._scene.task, golds) for golds in compared)

    def asked(self, hunts: Sequence[Hunt]) -> Iterator[tuple[object, ...]]:
        """Yield all that decides what searches find but the base and the code; adapters by what is in them."""
        engine = self._scene.engine
        yield self._scene.task.name, self._scene.task.metrics, self._alpha, self._max_new
        yield engine.batch_tokens, engine.read_tokens, engine.sampling
        for h in hunts:
            yield h.target, *h.start, h.layers, h.rule
            yield tuple(engine.bank.hashes[name] for name in h.names)
            yield tuple((e.id, e.prompt, e.gold) for e in h.examples)
            yield tuple(map(tuple, self._sharers[h.target]))

    def evaluate(self, candidates: Sequence[tuple[Hunt, np.ndarray, str]]) -> list[dict[str, Any]]:
        """Return a trace entry for each (target's search, weights, name among the search's candidates).

        Without a penalty (alpha 0) similarities are not computed.

        The name decides the random numbers when sampling, so it must not depend on who else is searched.
        """
        answers = self._answers([(h, h.mixture(w), name) for h, w, name in candidates])
        return [self._entry(h, w, preds) for (h, w, _), preds in zip(candidates, answers, strict=True)]

    def base(self, hunts: Sequence[Hunt]) -> list[float]:
        """Objective of the base, nothing merged, for each target."""
        answers = self._answers([(h, BASE, "base") for h in hunts])
        return [self._entry(h, np.zeros(0), a)["objective"] for h, a in zip(hunts, answers, strict=True)]

    def _entry(self, hunt: Hunt, weights: np.ndarray, preds: list[str]) -> dict[str, Any]:
        task = self._scene.task
        gain = utility(task, [e.gold for e in hunt.examples], preds, search=True)
        alike = [utility(task, theirs, preds, search=True) for theirs in self._sharers[hunt.target]]
        objective = gain - self._alpha * float(np.mean(alike)) if alike else gain
        return {"weights": weights.tolist(), "utility": gain, "similarity": alike, "objective": objective}

    def _answers(self, ask: Sequence[tuple[Hunt, Mixture, str]]) -> list[list[str]]:
        """Answer each search's examples with a mixture."""
        return self._texts(*self._requests(ask))

    def _requests(self, ask: Sequence[tuple[Hunt, Mixture, str]]) -> tuple[list[Request], list[list[int]]]:
        """List what to ask, and which answer is each example's; a prompt that comes twice is asked once when greedy."""
        requests, slots = list[Request](), list[list[int]]()
        for hunt, mixture, name in ask:
            seen: dict[str, int] = {}
            slots.append([])
            for example in hunt.examples:
                if self.draws or example.prompt not in seen:
                    seen[example.prompt] = len(requests)
                    key = (hunt.target, name, example.id)
                    requests.append(Request(example.prompt, mixture, example.gold, key))
                slots[-1].append(seen[example.prompt])
        return requests, slots

    def _texts(
        self, requests: Sequence[Request], slots: Sequence[Sequence[int]], tick: Tick = nothing
    ) -> list[list[str]]:
        texts = self._scene.engine.generate(requests, self._max_new, tick)
        return [[texts[i] for i in own] for own in slots]
