"""What one model says of the pool, and the signals that a game's items get from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prime_audit.audit.auc import BoolArray, FloatArray, IntArray
from prime_audit.audit.design import Dealt
from prime_audit.audit.pool import Pool
from prime_audit.audit.signals import ABSENT, ITEM_FIELDS, WHITE_BOX, Rows, Signals, mean_nll
from prime_audit.engine.mixture import Observation

VOCABULARY = ("mu", "sigma", "top")
"""Fields that come together: what the whole vocabulary says at each gold token."""
PER_ROW = (
    *("logprobs", *VOCABULARY, "lower_logprobs", "prefix_logprobs"),
    *(*WHITE_BOX, "shadow_nll", "continuations"),
)
FIELDS = (*PER_ROW, "population")
"""Fields of ``Observed``; those ``PER_ROW`` have one entry a row of the pool."""
DTYPES: Mapping[str, Any] = dict.fromkeys(FIELDS, np.float64) | {"top": np.bool_, "continuations": np.uint8}
BEHIND: Mapping[str, str] = {
    **{name: name for name in PER_ROW[1:]},
    "base_mu": "mu",
    "base_sigma": "sigma",
    "population_logprobs": "population",
    "population_out_nll": "population",
    **dict.fromkeys(ITEM_FIELDS, "shadow_nll"),
}
"""Signal an attack may need → the observed field it is made of; all others come with every pass."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Observed:
    """One model's pass over the pool: a row each, [T] arrays of ``DTYPES``; absent fields were not observed.

    A row that the model was not queried with is empty, T = 0 (end-of-text is scored too, so T >= 1 where it was).
    """

    logprobs: Rows
    mu: Rows = ABSENT
    sigma: Rows = ABSENT
    top: Sequence[BoolArray] = ABSENT
    lower_logprobs: Rows = ABSENT
    prefix_logprobs: Rows = ABSENT
    grad_norm: Rows = ABSENT
    """By adapted module, float64 [modules], as ``alignment``."""
    alignment: Rows = ABSENT
    shadow_nll: Rows = ABSENT
    """Mean NLL under the model with each shadow adapter of the row's owner, [shadows]; empty: there are none."""
    continuations: Sequence[np.ndarray] = ABSENT
    """The texts that the model sampled for a row, a JSON list as bytes: uint8 [bytes] (``written``, ``texts_in``)."""
    population: Rows = ()
    """Log-probabilities of the known non-members."""

    @classmethod
    def gather(
        cls, own: Sequence[Observation], known: Sequence[Observation], extras: Sequence[str]
    ) -> Observed:
        """Sort the engine's observations of items and of known non-members; ``extras`` in the probes' order."""
        moments = bool(own) and own[0].mu is not None
        return cls(
            logprobs=[o.logprobs[0] for o in own],
            **{name: [getattr(o, name) for o in own] if moments else ABSENT for name in VOCABULARY},
            **{
                name: [o.logprobs[1 + extras.index(name)] for o in own] if name in extras else ABSENT
                for name in ("lower_logprobs", "prefix_logprobs")
            },
            population=[o.logprobs[0] for o in known],
        )

    def spread(self, rows: IntArray, total: int) -> Observed:
        """Put the items of a pass over ``rows`` alone at their rows of a pool of ``total``; the others stay empty."""

        def place(name: str) -> Any:
            values = getattr(self, name)
            if values is ABSENT:
                return ABSENT
            full: list[np.ndarray] = [np.zeros(0, dtype=DTYPES[name])] * total
            for row, value in zip(rows.tolist(), values, strict=True):
                full[row] = value
            return full

        return replace(self, **{name: place(name) for name in PER_ROW})


def written(texts: Sequence[str]) -> np.ndarray:
    """Encode texts as one row of ``continuations``, uint8 [bytes]."""
    return np.frombuffer(json.dumps(list(texts)).encode(), dtype=np.uint8)


def texts_in(row: np.ndarray) -> list[str]:
    """Decode one row of ``continuations``; ValueError where it holds no list of texts."""
    try:
        found = json.loads(row.tobytes())
    except RecursionError:
        raise ValueError("continuations that nest too deep") from None
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError("continuations that are not texts")
    return found


@dataclass(frozen=True, eq=False)
class Shadow:
    """What the attacks on other targets' models may use of a target's model."""

    nll: FloatArray
    """Mean NLL of the pool's rows, [rows]."""
    asked: BoolArray
    """Rows that it counts for, [rows]: those it was queried with."""
    population: FloatArray
    """Mean NLL of the known non-members."""

    @classmethod
    def of(cls, seen: Observed, rows: IntArray | None = None) -> Shadow:
        """Take a model for all that it was queried with, or for ``rows`` of that alone."""
        asked = np.array([len(row) > 0 for row in seen.logprobs], dtype=np.bool_)
        if rows is not None:
            asked &= np.isin(np.arange(asked.size), rows)
        return cls(mean_nll(seen.logprobs), asked, mean_nll(seen.population))


def signals_of(
    own: Observed,
    base: Observed,
    others: Mapping[str, Shadow],
    merged: Mapping[str, Sequence[str]],
    pool: Pool,
    dealt: Dealt,
    similarity: FloatArray,
    shadow_nll: Rows = ABSENT,
) -> Signals:
    """Take a game's rows out of a model's pass, with the other targets' models as shadow models.

    A module that contains an item's owner is an IN model for it, any other an OUT model, the base included (a community
    LiRA); one that was not queried with the item is neither. Membership in the audited model decides nothing here.
    ``shadow_nll`` is the audited model's, also where ``own`` is the base: the reference of its scores stays the same.
    ValueError where the model or the base was not queried with a row: no score means "not asked".
    """
    rows = dealt.rows
    if not all(len(seen.logprobs[r]) for seen in (own, base) for r in rows):
        raise ValueError(f"target {dealt.target!r}: an item in play was never queried")

    def take(values: Any) -> Any:
        return ABSENT if values is ABSENT else [values[r] for r in rows]

    texts = take(own.continuations)
    inside, outside = _shadows(others, merged, dealt)
    item_in, item_out = _item_shadows(shadow_nll, pool, rows)
    floor = mean_nll(take(base.logprobs))
    crowd = [mean_nll(base.population), *(shadow.population for shadow in others.values())]
    return Signals(
        logprobs=take(own.logprobs),
        mu=take(own.mu),
        sigma=take(own.sigma),
        top=take(own.top),
        lower_logprobs=take(own.lower_logprobs),
        prefix_logprobs=take(own.prefix_logprobs),
        grad_norm=take(own.grad_norm),
        alignment=take(own.alignment),
        base_logprobs=take(base.logprobs),
        base_mu=take(base.mu),
        base_sigma=take(base.sigma),
        continuations=ABSENT if texts is ABSENT else [texts_in(row) for row in texts],
        texts=[pool.golds[r] for r in rows],
        prompts=[pool.prompts[r] for r in rows],
        owners=[pool.owners[r] for r in rows],
        in_nll=inside,
        out_nll=[np.append(own, rest) for own, rest in zip(floor, outside, strict=True)],
        item_in_nll=item_in,
        item_out_nll=item_out,
        population_logprobs=own.population,
        population_out_nll=[np.array(column) for column in zip(*crowd, strict=True)],
        members=dealt.members,
        similarity=similarity,
    )


def _shadows(
    others: Mapping[str, Shadow], merged: Mapping[str, Sequence[str]], dealt: Dealt
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Mean NLL of each item in play under the other models with its owner, and under those without."""
    rows, shape = dealt.rows, (len(others), len(dealt.rows))
    nll = np.array([shadow.nll[rows] for shadow in others.values()]).reshape(shape)
    asked = np.array([shadow.asked[rows] for shadow in others.values()], dtype=np.bool_).reshape(shape)
    owners = {owner: place for place, owner in enumerate(dict.fromkeys(dealt.owners))}
    contains = np.zeros((len(others), len(owners)), dtype=np.bool_)
    for place, target in enumerate(others):
        contains[place, [owners[name] for name in merged[target] if name in owners]] = True
    inside = contains[:, [owners[owner] for owner in dealt.owners]]
    return (
        [nll[inside[:, i] & asked[:, i], i] for i in range(len(rows))],
        [nll[~inside[:, i] & asked[:, i], i] for i in range(len(rows))],
    )


def _item_shadows(shadow_nll: Rows, pool: Pool, rows: IntArray) -> tuple[Rows, Rows]:
    """Mean NLL of each item in play under the shadows that were trained with it, and under those without."""
    if shadow_nll is ABSENT or not len(pool.inside):
        return ABSENT, ABSENT
    inside, outside = list[FloatArray](), list[FloatArray]()
    for row in rows:
        nll, trained = shadow_nll[row], pool.inside[row]
        known = np.isfinite(nll)
        trained = trained if nll.size else np.zeros(0, dtype=np.bool_)
        inside.append(nll[trained & known])
        outside.append(nll[~trained & known])
    return inside, outside
