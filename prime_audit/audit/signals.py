"""Signals: what one pass of a model over items gives, all that an attack may see, and what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from prime_audit.audit.auc import BoolArray, FloatArray, Undefined
from prime_audit.errors import PartError

Rows = Sequence[FloatArray]
"""One float64 array per item."""
ABSENT: Any = None
"""The value of a field that was not computed; reading it raises AttributeError."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Signals:
    """Observations of the items of one game under one module (a target's model), in the items' order.

    T is the number of an item's gold tokens, end-of-text included. Log-probabilities are in nats. Only the fields
    that an attack declares are present. Reading another raises AttributeError with the remedy.
    """

    logprobs: Rows = ABSENT
    """Per item, log p of each gold token [T]."""
    mu: Rows = ABSENT
    """Per item, at each gold token's position: the mean of log p over the vocabulary, Σ p·log p [T]."""
    sigma: Rows = ABSENT
    """Per item, at each gold token's position: the deviation of log p, √(Σ p·(log p)² − μ²), >= 0 [T]."""
    top: Sequence[BoolArray] = ABSENT
    """Per item, for each gold token whether the model finds no token more likely [T]."""
    lower_logprobs: Rows = ABSENT
    """Per item, log p of each token of the gold text in lower case [T', its own tokens]."""
    prefix_logprobs: Rows = ABSENT
    """Per item, log p of each gold token after a prefix of known non-members' golds (the prefix is not scored) [T]."""
    grad_norm: Rows = ABSENT
    """Per item, at each adapted module: the norm of the gradient of the item's mean NLL with respect to the adapter's
    factors A and B there [modules]. For the unmerged base: of a fresh LoRA. Only where a model is one adapter."""
    alignment: Rows = ABSENT
    """Per item, at each adapted module: ⟨∂L/∂ΔW, ΔW⟩ of the item's mean NLL L under the base and the adapter's update
    ΔW [modules]: what it adds to L, to first order; 0 for the unmerged base. Only where a model is one adapter."""
    base_logprobs: Rows = ABSENT
    """``logprobs`` under the adapted base with nothing merged [T]."""
    base_mu: Rows = ABSENT
    """``mu`` under that base [T]."""
    base_sigma: Rows = ABSENT
    """``sigma`` under that base [T]."""
    continuations: Sequence[Sequence[str]] = ABSENT
    """Per item, texts that the model sampled after the prompt and the first half of the gold (:func:`halves`)."""
    texts: Sequence[str] = ABSENT
    """Per item, the gold text."""
    prompts: Sequence[str] = ABSENT
    """Per item, the text before the gold."""
    owners: Sequence[str] = ABSENT
    """Per item, the id of its sharer."""
    in_nll: Rows = ABSENT
    """Per item, mean NLL under other targets' modules that contain its owner [m]; m may be 0."""
    out_nll: Rows = ABSENT
    """Per item, mean NLL under other targets' modules without its owner, the unmerged base first [m >= 1]."""
    item_in_nll: Rows = ABSENT
    """Per item, mean NLL under the model with its owner's adapter replaced by shadows trained with this item [m]."""
    item_out_nll: Rows = ABSENT
    """The same with shadows trained without this item [m]; m may be 0, where the model has no adapter of the owner."""
    population_logprobs: Rows = ABSENT
    """``logprobs`` of known non-members, disjoint from the items."""
    population_out_nll: Rows = ABSENT
    """``out_nll`` of those known non-members."""
    members: BoolArray = ABSENT
    """For controls only: whether each item is a member [items]. No attack may declare it."""
    similarity: FloatArray = ABSENT
    """For controls only: cosine of each item's owner to the target [items]."""

    def __post_init__(self) -> None:
        sizes = {name: len(getattr(self, name)) for name in _PER_ITEM if self.has(name)}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"signals of different numbers of items: {sizes}")

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if value is ABSENT and name in _ALL:
            raise AttributeError(f"signal {name!r} was not computed: name it in the attack's needs")
        return value

    def has(self, name: str) -> bool:
        """Return whether a field was computed."""
        return object.__getattribute__(self, name) is not ABSENT

    @property
    def items(self) -> int:
        """Number of items; 0 where no field has it."""
        return next((len(getattr(self, name)) for name in _PER_ITEM if self.has(name)), 0)

    def only(self, names: Iterable[str]) -> Signals:
        """Return only the named fields, as an attack that declares them sees it."""
        return Signals(**{name: getattr(self, name) for name in names})


ROUNDING = 1e-5
"""How much two passes of one float32 model may differ (other batches, other sums): nats; above 1 nat this share."""
_ALL = tuple(Signals.__dataclass_fields__)
_PER_ITEM = tuple(name for name in _ALL if not name.startswith("population_"))
ITEM_FIELDS = ("item_in_nll", "item_out_nll")
"""Fields that are made of shadow adapters: only runs with ``shadows`` have them, in games whose members are items."""
WHITE_BOX = ("grad_norm", "alignment")
"""Fields that a single adapter's factors decide: only games that query single adapters have them."""
CONTROL_FIELDS = ("members", "similarity")
"""Fields only controls may declare."""
FIELDS = tuple(name for name in _ALL if name not in CONTROL_FIELDS)
"""Fields an attack may declare in its ``needs``."""


def mean_nll(rows: Rows) -> FloatArray:
    """Mean negative log-likelihood of each item's tokens -> [items]; NaN for an item without tokens."""
    return np.array([-row.mean() if len(row) else np.nan for row in rows], dtype=np.float64)


def logit(nll: FloatArray) -> FloatArray:
    """Return log(p/(1 - p)) of p = e^-NLL, as LiRA scales confidences; finite, for p is at most 1 - ``LEAST``."""
    above = np.maximum(nll, LEAST)
    found: FloatArray = -above - np.log(-np.expm1(-above))
    return found


LEAST = 2.0**-24
"""Nats: a smaller NLL is rounding error of float32, and its logit would be infinite."""


def ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """``above / below``, NaN (undefined) where ``below`` is 0 or both are infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: FloatArray = np.where(below == 0, np.nan, above / below)
    return quotient


def lowest(values: FloatArray, share: float) -> np.ndarray:
    """Positions of the max(1, ⌊share·T⌋) lowest values; of ties the earlier."""
    count = max(1, int(share * len(values) + 1e-9))  # 0.29 * 100 is 28.999999999999996
    return np.argsort(values, kind="stable")[:count]


def standardised(logprobs: FloatArray, mu: FloatArray, sigma: FloatArray) -> FloatArray:
    """(log p - μ)/σ of one item's tokens, 0 where σ = 0."""
    out: FloatArray = np.divide(logprobs - mu, sigma, out=np.zeros_like(logprobs), where=sigma > 0)
    return out


def change(own: FloatArray, base: FloatArray) -> FloatArray:
    """``own - base``, 0 where they differ by rounding alone (``ROUNDING``), NaN where both are infinite.

    A model that equals the base would otherwise be scored, and its items ordered, by its rounding errors.
    """
    with np.errstate(invalid="ignore"):
        found: FloatArray = own - base
        same = np.isfinite(found) & (np.abs(found) <= ROUNDING * np.maximum(1.0, np.abs(base)))
    return np.where(same, 0.0, found)


def gains(signals: Signals) -> list[FloatArray]:
    """Log p minus the base's at each gold token, by :func:`change` -> items of [T]; -inf counts as -1e30."""
    pairs = zip(signals.logprobs, signals.base_logprobs, strict=True)
    return [change(np.maximum(own, -1e30), np.maximum(base, -1e30)) for own, base in pairs]


def halves(text: str) -> tuple[str, list[str]]:
    """Cut a text after the first ⌊n/2⌋ of its n words (by white space) -> the first half, the words of the second.

    A text of one word has an empty first half.
    """
    words = text.split()
    return " ".join(words[: len(words) // 2]), words[len(words) // 2 :]


def returned(name: str, scores: ArrayLike, items: int) -> FloatArray:
    """Check an attack's result: one number per item, NaN = undefined -> [items]; PartError for anything else."""
    try:
        found = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError):
        raise PartError(f"attack {name} returned no numbers: return one float per item") from None
    if found.shape != (items,):
        raise PartError(
            f"attack {name} returned scores of shape {found.shape} for {items} items: return [items]"
        )
    return found


def settle(scores: ArrayLike) -> tuple[FloatArray, int]:
    """Replace the undefined scores (NaN) of one target's game [items] by the defined ones' median -> scores, count.

    The median is neutral: as many items of the same game are above it as below. So an undefined item is no evidence
    either way, and no item is lost. If being undefined itself depends on membership, that is not used, because no
    direction was fixed for it. The count belongs in the record. Raises Undefined where no item has a score.
    """
    found = np.array(scores, dtype=np.float64)
    undefined = np.isnan(found)
    if undefined.all():
        raise Undefined(f"the score is undefined for all {found.size} items")
    if undefined.any():
        known = np.sort(found[~undefined])
        with np.errstate(invalid="ignore"):
            middle = float(np.median(known))
        # Between -inf and inf there is no middle: take the lower.
        found[undefined] = known[(known.size - 1) // 2] if np.isnan(middle) else middle
    return found, int(undefined.sum())


def settle_both(own: ArrayLike, base: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Settle one target's scores [items] and the base's of the same items -> scores, base's, scores to take gains from.

    An item that is undefined on either side is neutral on both (:func:`settle`), and so is its gain: in the third
    result it has the base's score plus the median gain of the defined ones. Raises Undefined where no item is defined
    on both sides.
    """
    left, right = np.array(own, dtype=np.float64), np.array(base, dtype=np.float64)
    undefined = np.isnan(left) | np.isnan(right)
    left[undefined] = right[undefined] = np.nan
    (left, _), (right, _) = settle(left), settle(right)
    with np.errstate(invalid="ignore"):
        risen = np.nan_to_num(
            left - right, nan=0.0, posinf=np.inf, neginf=-np.inf
        )  # infinite on both: no evidence
    risen[undefined] = np.nan
    paired = left.copy()
    if undefined.any():
        middle = settle(risen)[0][undefined]
        with np.errstate(invalid="ignore"):
            paired[undefined] = right[undefined] + middle
        paired = np.where(np.isnan(paired), left, paired)
    paired = np.where(change(paired, right) == 0.0, right, paired)  # rounding is no gain
    return left, right, paired
