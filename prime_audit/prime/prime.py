"""PriME: evolved merge weights over the most similar sharers' adapters, with a penalty for resembling them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from prime_audit.community.sharers import bank_name
from prime_audit.community.trim import DENSITY, Trim, united
from prime_audit.engine.batches import Tick, nothing
from prime_audit.engine.mixture import BASE, Mixture, Request, alone
from prime_audit.engine.rules import DEFAULT, RULES, explained
from prime_audit.lamp.data import User
from prime_audit.lamp.metrics import utility
from prime_audit.lamp.prompts import Example
from prime_audit.plugins import Param, Personal, Scene, method
from prime_audit.prime.search import OPTIMIZERS, Found, Search, searched
from prime_audit.seeds import rng_of, seed_of

PARAMS = (
    Param("alpha", 0.0, "privacy coefficient of Eq. 8: how much resembling the merged sharers costs"),
    Param("optimizer", "cma", "nevergrad's CMA, NGOpt, NgIohTuned or TBPSA", tuple(OPTIMIZERS)),
    Param("budget", "preset:prime.budget", "candidates evaluated per target"),
    Param("k", "preset:prime.k", "most similar sharers merged (Eq. 5)"),
    Param("share", "preset:prime.share", "share of the target's last examples that the search looks at"),
    Param(
        "granularity",
        "module",
        "one weight a sharer (module), or one a decoder layer and sharer",
        ("module", "layer"),
    ),
    Param("merge", DEFAULT, f"merge rule; {explained()}", tuple(RULES)),
    Param(
        "select",
        "best",
        "best: deploy the best point evaluated, the recommendation among them; recommended: as released, the "
        "recommendation unevaluated, or the base where it is strictly better than the best point seen",
        ("best", "recommended"),
    ),
    Param(
        "trim",
        "none",
        "what is merged: the sharers' adapters, or these trimmed; ties: the largest entries of what merge sums "
        "(updates or factors); dare: random entries of the factors, scaled up",
        ("none", "ties", "dare"),
    ),
    Param(
        "density", 0.0, "share of entries that trim keeps; 0 means 0.2 for ties, 0.5 for dare", bounds=(0, 1)
    ),
)


@method(source="Kim, Shin and Kim 2025, Algorithm 1 and Eq. 8", params=PARAMS)
def personalise(
    scene: Scene,
    *,
    alpha: float,
    optimizer: str,
    budget: int,
    k: int,
    share: float,
    granularity: str,
    merge: str,
    select: str,
    trim: str,
    density: float,
) -> dict[str, Personal]:
    """Search each target's merge weights on her own history; all targets' candidates share the batches."""
    community = scene.community
    nearest = {user.id: community.nearest(user.id, k) for user in community.targets}
    community.ready()
    names = _names(scene, [s for near in nearest.values() for s in near], trim, density, merge)
    layers = scene.engine.base.layers if granularity == "layer" else 1
    hunts = []
    for user in community.targets:
        if not (examples := _drawn(scene, user, share)):
            continue
        dimension = len(nearest[user.id]) * layers
        start = (optimizer, dimension, budget, seed_of(scene.seed, "prime", scene.task.name, user.id))
        merged = tuple(names[s] for s in nearest[user.id])
        hunts.append(_Hunt(user.id, nearest[user.id], merged, examples, start, layers, merge))
    judge, total = _Judge(scene, alpha, hunts), len(hunts) * budget
    with scene.stage("search", total) as tick:
        found = searched(scene.engine, judge.asked(hunts), total, partial(_search, judge, hunts), tick)
    for h, one in zip(hunts, found, strict=True):
        h.trace, h.recommendation = one.trace, one.recommendation
    deploy = _best if select == "best" else _recommended
    return {h.target: p for h, p in zip(hunts, deploy(judge, hunts), strict=True)}


@dataclass(eq=False)
class _Hunt:
    """One target's search."""

    target: str
    sharers: tuple[str, ...]
    names: tuple[str, ...]
    """What is merged of each sharer: her adapter in the bank, or that trimmed."""
    examples: list[Example]
    start: tuple[str, int, int, int]
    """Optimizer, dimension, budget, seed."""
    layers: int
    rule: str
    trace: list[dict[str, Any]] = field(default_factory=list)
    """What it found (``Found``)."""
    recommendation: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def mixture(self, weights: np.ndarray) -> Mixture:
        """Turn a candidate, float [k] or [layers·k], into a mixture over the bank."""
        table = weights if self.layers == 1 else weights.reshape(self.layers, -1)
        return Mixture(self.names, table, self.rule)


def _names(scene: Scene, sharers: Iterable[str], trim: str, density: float, merge: str) -> dict[str, str]:
    """Return sharer → the adapter of hers that is searched over, in the bank."""
    if trim == "none":
        return {s: bank_name(s) for s in sharers}
    # What she answers herself (``_Judge``) stays hers: the penalty is for resembling her, not what was left of her.
    how = Trim(trim, density or DENSITY[trim], RULES[merge].space if trim == "ties" else "factor")
    made = united(scene.community, scene.stage, ({s} for s in sharers), how)
    return {s: made[frozenset({s})][0] for s in sharers}


def _drawn(scene: Scene, user: User, share: float) -> list[Example]:
    """Draw a share of the target's last examples without replacement, at least one, in their order."""
    examples = scene.community.last_examples(user)
    count = min(len(examples), max(1, round(share * len(examples))))
    rng = rng_of(scene.seed, "prime share", scene.task.name, user.id)
    return [examples[i] for i in sorted(rng.choice(len(examples), size=count, replace=False))]


def _search(judge: _Judge, hunts: Sequence[_Hunt], tick: Tick) -> list[Found]:
    """Search for all targets in step."""
    traces = {h.target: list[dict[str, Any]]() for h in hunts}
    running = [(h, Search(*h.start)) for h in hunts]
    while active := [(h, search) for h, search in running if not search.done]:
        asked = [(h, search, search.ask()) for h, search in active]
        named = [
            (h, w, f"candidate {len(traces[h.target]) + n}")
            for h, _, points in asked
            for n, w in enumerate(points)
        ]
        scored = judge.evaluate(named)
        for h, search, points in asked:
            search.tell([p["objective"] for p in scored[: len(points)]])
            traces[h.target] += scored[: len(points)]
            scored = scored[len(points) :]
            tick(len(points))
    return [Found(traces[h.target], search.recommendation()) for h, search in running]


class _Judge:
    """Evaluates candidates of many targets at once: utility, similarity to each sharer, objective."""

    def __init__(self, scene: Scene, alpha: float, hunts: Sequence[_Hunt]) -> None:
        self._scene, self._alpha = scene, alpha
        self._max_new = scene.settings.get("max_new", scene.task.name)
        ask = [(h, alone(bank_name(s)), f"sharer {s}") for h in hunts for s in h.sharers]
        requests, slots = self._requests(ask)
        with scene.stage("sharers' predictions", len(requests)) as tick:
            texts = iter(self._texts(requests, slots, tick))
        self._sharers = {h.target: [next(texts) for _ in h.sharers] for h in hunts}

    @property
    def draws(self) -> bool:
        """Whether answers are sampled."""
        return self._scene.engine.sampling is not None

    def asked(self, hunts: Sequence[_Hunt]) -> Iterator[tuple[object, ...]]:
        """Yield all that decides what searches find but the base and the code; adapters by what is in them."""
        engine = self._scene.engine
        yield self._scene.task.name, self._alpha, self._max_new
        yield engine.batch_tokens, engine.read_tokens, engine.sampling
        for h in hunts:
            yield h.target, *h.start, h.layers, h.rule
            yield tuple(engine.bank.hashes[name] for name in h.names)
            yield tuple((e.id, e.prompt, e.gold) for e in h.examples)
            yield tuple(map(tuple, self._sharers[h.target]))

    def evaluate(self, candidates: Sequence[tuple[_Hunt, np.ndarray, str]]) -> list[dict[str, Any]]:
        """Return a trace entry for each (target's search, weights, name among the search's candidates).

        The name decides the random numbers when sampling, so it must not depend on who else is searched.
        """
        answers = self._answers([(h, h.mixture(w), name) for h, w, name in candidates])
        return [self._entry(h, w, preds) for (h, w, _), preds in zip(candidates, answers, strict=True)]

    def base(self, hunts: Sequence[_Hunt]) -> list[float]:
        """Objective of the base, nothing merged, for each target."""
        answers = self._answers([(h, BASE, "base") for h in hunts])
        return [self._entry(h, np.zeros(0), a)["objective"] for h, a in zip(hunts, answers, strict=True)]

    def _entry(self, hunt: _Hunt, weights: np.ndarray, preds: list[str]) -> dict[str, Any]:
        task = self._scene.task
        gain = utility(task, [e.gold for e in hunt.examples], preds, search=True)
        alike = [utility(task, theirs, preds, search=True) for theirs in self._sharers[hunt.target]]
        objective = gain - self._alpha * float(np.mean(alike))
        return {"weights": weights.tolist(), "utility": gain, "similarity": alike, "objective": objective}

    def _answers(self, ask: Sequence[tuple[_Hunt, Mixture, str]]) -> list[list[str]]:
        """Answer each search's examples with a mixture."""
        return self._texts(*self._requests(ask))

    def _requests(self, ask: Sequence[tuple[_Hunt, Mixture, str]]) -> tuple[list[Request], list[list[int]]]:
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


def _best(judge: _Judge, hunts: Sequence[_Hunt]) -> list[Personal]:
    """Evaluate the recommendation; deploy the best point evaluated, the earliest of equals."""
    points = [h.recommendation for h in hunts]
    # Often it is a point of the search, whose answers are known; where they are drawn, they are drawn anew.
    known = [None if judge.draws else _seen(h, w) for h, w in zip(hunts, points, strict=True)]
    fresh = [(h, w, "recommended") for h, w, k in zip(hunts, points, known, strict=True) if k is None]
    found = iter(judge.evaluate(fresh) if fresh else [])
    chosen = []
    for hunt, entry in ((h, k or next(found)) for h, k in zip(hunts, known, strict=True)):
        best = max([*hunt.trace, entry], key=lambda e: e["objective"])
        chosen.append(_personal(hunt, np.array(best["weights"]), entry, best))
    return chosen


def _seen(hunt: _Hunt, weights: np.ndarray) -> dict[str, Any] | None:
    """Return the entry of a point that the search has evaluated; None where it has not."""
    return next((e for e in hunt.trace if e["weights"] == weights.tolist()), None)


def _recommended(judge: _Judge, hunts: Sequence[_Hunt]) -> list[Personal]:
    """Deploy the recommendation as it is, or the base where its objective is strictly above the best seen."""
    chosen = []
    for hunt, base in zip(hunts, judge.base(hunts), strict=True):
        best = max(hunt.trace, key=lambda e: e["objective"])
        recommended = {"weights": hunt.recommendation.tolist()}
        if base > best["objective"]:
            chosen.append(
                Personal(BASE, (), {"sharers": list(hunt.sharers), "base": base, "trace": hunt.trace})
            )
        else:
            chosen.append(_personal(hunt, np.array(recommended["weights"]), recommended, best))
    return chosen


def _personal(
    hunt: _Hunt, weights: np.ndarray, recommended: dict[str, Any], best: dict[str, Any]
) -> Personal:
    notes = {
        "sharers": list(hunt.sharers),
        "weights": weights.tolist(),
        "best": best,
        "recommended": recommended,
        "trace": hunt.trace,
    }
    # Weights of exactly zero (NGOpt starts there) merge nobody.
    merged = tuple(
        s
        for s, w in zip(hunt.sharers, np.abs(weights.reshape(-1, len(hunt.sharers))).sum(0), strict=True)
        if w
    )
    return Personal(hunt.mixture(weights), merged, notes)
