"""Controls: the AUC that is possible without the personalised model.

A control has the signature of an attack: signals in, one score an item out, higher = member. It goes through the same
statistics. It may read what no attack may (``CONTROL_FIELDS``), but nothing from the personalised model. Directions are
fixed beforehand, as for attacks: short = member (as for a sum of losses), similar = member. The fourth control,
``base``, is not here: it is the attack itself on the unmerged base's signals.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from prime_audit.audit.auc import BoolArray, FloatArray
from prime_audit.audit.signals import Signals
from prime_audit.cache.numeric import code_sha256
from prime_audit.community.store import content_key
from prime_audit.engine.memo import Keeper
from prime_audit.lamp.data import words_of

FOLDS = 5
"""Cross-validation folds of the bag-of-words classifier; fewer where a side has fewer items."""
FOLD_SEED = 0
"""Fixed: the control is the same in every run on the same items."""


def bag_of_words(
    signals: Signals, keeper: Keeper | None = None, owners: Sequence[str] | None = None
) -> FloatArray:
    """Out-of-fold log-odds of membership from the words alone, [items]: TF-IDF and logistic regression.

    It reads what the attacker's model reads, prompt and gold, but never queries the model. Folds are stratified by
    membership and drawn over items, not sharers: another item of the same sharer may be in training. So where whole
    sharers are members it also measures how well their words identify a sharer. That is intended: it is the shift that
    an attack could exploit. The vocabulary and its weights come from the training folds only. All NaN where a side has
    fewer than two items, or a training fold holds no word. A ``keeper`` caches the scores between runs.

    With ``owners`` of the items, whole owners are left out of training in turn: for games whose members are sharers by
    coin. There all items of a sharer share one coin, so a fold that splits a sharer would reveal the answer. With few
    owners the AUC is below ½ where the words carry nothing: leaving an owner out makes the owner's side the rarer one.
    NaN for owners whose absence leaves a side empty.
    """
    texts = tuple(f"{front}\n{gold}" for front, gold in zip(signals.prompts, signals.texts, strict=True))
    sides = np.asarray(signals.members, dtype=np.bool_).tobytes()
    return _kept(texts, sides, None if owners is None else tuple(owners), keeper).copy()  # type: ignore[arg-type]


@lru_cache(maxsize=1024)  # targets that merge the same sharers, and methods, play on the same items
def _kept(texts: tuple[str, ...], sides: bytes, owners: tuple[str, ...] | None, keeper: Any) -> FloatArray:
    """Score, or read back what was scored from the same texts and sides by the same code."""
    members = np.frombuffer(sides, dtype=np.bool_)

    def score() -> FloatArray:
        return _out_of_fold(texts, members) if owners is None else _without_owner(texts, members, owners)

    if keeper is None:
        return score()
    asked = {
        "kind": "bag of words",
        "texts": texts,
        "members": members.tolist(),
        "owners": owners,
        "code": code_sha256("controls"),
        "threads": os.environ.get("OMP_NUM_THREADS", os.cpu_count()),  # long sums are split among them
    }
    found: FloatArray = keeper.arrays(content_key(asked), lambda: {"scores": score()})["scores"]
    return found


def _out_of_fold(texts: Sequence[str], members: BoolArray) -> FloatArray:
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rarer = int(min(members.sum(), (~members).sum()))
    if rarer < 2:
        return np.full(members.size, np.nan)
    folds = StratifiedKFold(min(FOLDS, rarer), shuffle=True, random_state=FOLD_SEED)
    try:
        scores = cross_val_predict(_classifier(), list(texts), members, cv=folds, method="decision_function")
    except ValueError as fault:
        if "empty vocabulary" not in str(fault):
            raise
        return np.full(members.size, np.nan)
    return np.asarray(scores, dtype=np.float64)


def _without_owner(texts: Sequence[str], members: BoolArray, owners: Sequence[str]) -> FloatArray:
    who = np.asarray(owners, dtype=np.str_)
    scores = np.full(members.size, np.nan)
    for owner in sorted(set(owners)):
        rest = np.flatnonzero(who != owner)
        if len(set(members[rest].tolist())) < 2:
            continue
        own = np.flatnonzero(who == owner)
        try:
            fitted = _classifier().fit([texts[i] for i in rest], members[rest])
        except ValueError as fault:
            if "empty vocabulary" not in str(fault):
                raise
            continue
        scores[own] = fitted.decision_function([texts[i] for i in own])
    return scores


def length_only(signals: Signals) -> FloatArray:
    """Minus the number of gold tokens, end-of-text included."""
    return -np.array([len(row) for row in signals.logprobs], dtype=np.float64)


def similarity_only(signals: Signals) -> FloatArray:
    """Cosine of the item's owner to the target: how sharers were selected."""
    return np.asarray(signals.similarity, dtype=np.float64)


@lru_cache(maxsize=100_000)
def _words(text: str) -> list[str]:
    """Cut a text into lower-case words, once: every fold of every target's game reads the same texts."""
    return re.findall(r"(?u)\w+", text.lower())


def _classifier() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(
        TfidfVectorizer(analyzer=_words, sublinear_tf=True),
        LogisticRegression(class_weight="balanced", max_iter=1000),
    )


CONTROLS: Mapping[str, Callable[[Signals], FloatArray]] = {
    "bag_of_words": bag_of_words,
    "length_only": length_only,
    "similarity_only": similarity_only,
}
"""The controls beside every figure, but for ``base``: signals to scores [items], higher = member, NaN = undefined."""


def both_sides(texts: Sequence[str], members: ArrayLike) -> tuple[BoolArray, BoolArray]:
    """Find near-duplicates across the sides of a game: same words in the same order, case and punctuation aside.

    Give the whole item, prompt and gold: golds that are labels repeat without being duplicates. Such items pull
    every AUC towards ½; they are reported, not removed. Returns the members [items] whose text is also a non-member's,
    and the non-members [items] whose text is also a member's. Texts without a word count as equal to each other.
    """
    inside = np.asarray(members, dtype=np.bool_)
    words = [words_of(text) for text in texts]
    sides = list(zip(words, inside.tolist(), strict=True))
    shared = {w for w, member in sides if member} & {w for w, member in sides if not member}
    twins = np.array([w in shared for w in words], dtype=np.bool_)
    return twins & inside, twins & ~inside
