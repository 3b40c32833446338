"""Choosing sharers, with a part of their items held out: one user of each cluster, or all who are eligible."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from prime_audit.lamp.data import User
from prime_audit.lamp.given import shown
from prime_audit.record import NAMED
from prime_audit.seeds import rng_of

_SHARER = "sharer:"


@dataclass(frozen=True)
class Sharer:
    """A user whose adapter may be merged."""

    user: User
    cluster: int
    trained: tuple[str, ...]
    """Ids of the items that the adapter is trained on, oldest first."""
    heldout: tuple[str, ...]
    """Ids of the items that training never sees, neither as an example nor in a prompt."""

    @property
    def shown(self) -> User:
        """The sharer as training sees them: no held-out item, and no profile text that may reveal one."""
        kept = set(self.trained)
        history = tuple(i for i in self.user.history if i.id in kept)
        return replace(self.user, history=history, profile=None if self.heldout else self.user.profile)


def named(ids: Sequence[str]) -> str:
    """List the first few sharers at a warning's end."""
    more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
    return NAMED + ", ".join(shown(name) for name in ids[:5]) + more


def cluster_users(embeddings: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Assign users [n, d] to at most ``clusters`` k-means clusters, int [n] (10 restarts, 3000 iterations)."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # With fewer distinct users than clusters, some clusters stay empty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        means = KMeans(min(clusters, len(embeddings)), n_init=10, max_iter=3000, random_state=seed % 2**32)
        return np.asarray(means.fit_predict(embeddings))


def eligible(users: Sequence[User], min_history: int) -> list[User]:
    """List the users who may share: those with more than ``min_history`` items."""
    return [user for user in users if len(user.history) > min_history]


def choose_sharers(
    users: Sequence[User], clusters: np.ndarray, *, min_history: int, heldout: float, seed: int
) -> tuple[Sharer, ...]:
    """Take each cluster's user with the longest history, if it is longer than ``min_history`` items."""
    chosen = []
    for cluster in sorted(set(clusters.tolist())):
        longest = max(
            (u for u, c in zip(users, clusters, strict=True) if c == cluster), key=lambda u: len(u.history)
        )
        if eligible([longest], min_history):
            chosen.append(hold_out(longest, cluster, heldout, seed))
    return tuple(chosen)


def hold_out(user: User, cluster: int, share: float, seed: int) -> Sharer:
    """Draw the held-out items, ⌊share·n⌋ of them but at least one, by the user's own random numbers.

    Only items without a copy are drawn (``singles``): training would have seen the copy, and two copies on one side
    are not independent draws. With too few such items, fewer are held out; never all.
    """
    able = singles(user)
    count = max(1, int(share * len(user.history))) if share > 0 else 0
    count = min(count, len(able), len(user.history) - 1)
    order = rng_of(seed, "heldout", user.id).permutation(len(able)).tolist()
    drawn = {able[place] for place in order[:count]}
    ids = [item.id for item in user.history]
    return Sharer(user, cluster, tuple(i for i in ids if i not in drawn), tuple(i for i in ids if i in drawn))


def singles(user: User) -> list[str]:
    """List the items of a history that have no copy in it, oldest first: a game may draw these."""
    words = {item.id: item.words for item in user.history}
    often = Counter(words.values())
    return [key for key, own in words.items() if often[own] == 1]


def cosines(one: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Cosine of a user embedding [d] with many [n, d]: float64 [n] (Eq. 5)."""
    return np.asarray(many @ one / (np.linalg.norm(many, axis=1) * np.linalg.norm(one)))


def bank_name(user: str) -> str:
    """Name of a sharer's adapter in the bank (a target's own is ``own:ID``)."""
    return f"{_SHARER}{user}"


def sharer_of(adapter: str) -> str | None:
    """Return the id of the sharer whose adapter has this name in the bank; None for any other adapter."""
    return adapter.removeprefix(_SHARER) if adapter.startswith(_SHARER) else None
