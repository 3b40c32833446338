"""Who will share, and why the others will not: counted from the data alone, before any model is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from prime_audit.community.sharers import eligible, hold_out
from prime_audit.lamp.data import Dataset
from prime_audit.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """From a task's candidates to its sharers."""

    candidates: int
    eligible: int
    """Those with more than ``min_history`` items."""
    least: int
    """Fewest sharers: who shares a cluster depends on embeddings, which need a model."""
    most: int
    """Most sharers."""
    why_not: Mapping[str, int]
    """Reason → how many candidates do not share for it; the last reason counts from ``candidates`` minus ``most``."""
    heldout: tuple[int, ...] = ()
    """Held-out items of each eligible candidate, or of each given sharer."""

    @property
    def sharers(self) -> str:
        """How many share, as a number or as bounds."""
        return str(self.most) if self.least == self.most else f"{self.least} to {self.most}"

    def lines(self) -> Iterator[str]:
        """Write it in two lines."""
        yield f"sharers: {self.sharers} of {self.candidates} candidates; {self.eligible} are eligible"
        why = "; ".join(f"{count} {reason}" for reason, count in self.why_not.items() if count)
        if why:
            yield f"the other candidates: {why}"


def funnel(data: Dataset, settings: Settings, seed: int = 0) -> Funnel:
    """Count a task's candidates, the eligible, and who of them shares. Nothing is embedded: clusters give bounds."""
    get = partial(settings.get, task=data.task)
    if data.given:
        return _given(data, settings)
    least_items, clusters = get("min_history"), get("clusters")
    users = [u for u in data.candidates if u.history]
    able = eligible(users, least_items)
    low = high = min(clusters, len(able))
    if len(able) > clusters or get("clustered") == "candidates":
        # Users with the same texts are one point to k-means, and a cluster may have no eligible user.
        pool = users if get("clustered") == "candidates" else able
        full = min(clusters, len({tuple(i.words for i in u.history) for u in pool}))
        low = min(high, max(min(1, len(able)), full - (len(pool) - len(able))))
    return Funnel(
        candidates=len(data.candidates),
        eligible=len(able),
        least=low,
        most=high,
        why_not={
            "have no history": len(data.candidates) - len(users),
            f"have at most {least_items} items (min_history)": len(users) - len(able),
            f"are in a cluster with a longer history (clusters = {clusters})": len(able) - high,
        },
        heldout=tuple(len(hold_out(u, 0, get("heldout"), seed).heldout) for u in able),
    )


def _given(data: Dataset, settings: Settings) -> Funnel:
    """Count sharers whose adapters came with them: all of them, unless ``--set`` asks for clusters or lengths."""
    assert data.given is not None
    override = partial(settings.override, task=data.task)
    everybody = data.given.sharers
    least_items, clusters = override("min_history") or 0, override("clusters")
    able = [s for s in everybody if len(s.user.history) > least_items]
    most = len(able) if clusters is None else min(clusters, len(able))
    return Funnel(
        candidates=len(everybody),
        eligible=len(able),
        least=most if clusters is None else min(1, most),
        most=most,
        why_not={
            f"have at most {least_items} items (min_history)": len(everybody) - len(able),
            f"are in a cluster with a longer history (clusters = {clusters})": len(able) - most,
        },
        heldout=tuple(len(s.heldout) for s in able),
    )
