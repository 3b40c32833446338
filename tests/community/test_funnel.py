"""Who shares: counted by hand, and held against the community that a run builds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from prime_audit.community.funnel import funnel
from prime_audit.community.sharers import choose_sharers, cluster_users
from prime_audit.games.exam.power import Size, detectable, outlook
from prime_audit.lamp.data import Dataset, Item, User
from prime_audit.lamp.world.world import world
from prime_audit.plugins.loading import load_game
from prime_audit.settings import load_settings


def people(*lengths: int) -> tuple[User, ...]:
    """Make users with so many items."""
    return tuple(
        User(
            f"u{n}",
            tuple(
                Item(f"u{n}/{i}", {"text": f"words of {n} and {i}", "title": f"t{i}"}) for i in range(count)
            ),
        )
        for n, count in enumerate(lengths)
    )


def data(*lengths: int) -> Dataset:
    made = world("LaMP-4", seed=0, users=20, adapt=2, targets=6)
    return replace(made, candidates=people(*lengths))


@pytest.mark.parametrize(
    ("lengths", "options", "sharers", "why"),
    [
        ((0, 3, 10, 11, 30, 40), [], "3", ["1 have no history", "2 have at most 10 items"]),
        ((0, 3, 10, 11, 30, 40), ["min_history=30"], "1", ["4 have at most 30 items"]),
        ((20, 21, 22, 23, 5), ["clusters=2"], "2", ["1 have at most", "2 are in a cluster with a longer"]),
        ((20, 21, 22, 23, 5), ["clusters=4", "clustered=candidates"], "3 to 4", ["1 have at most"]),
        ((20, 3, 4, 5), ["clusters=2", "clustered=candidates"], "1", ["3 have at most"]),
        ((3, 4), [], "0", ["2 have at most"]),
    ],
)
def test_the_funnel_is_a_count_by_hand(
    lengths: tuple[int, ...], options: list[str], sharers: str, why: list[str]
) -> None:
    found = funnel(data(*lengths), load_settings("small", options))
    first, *rest = found.lines()
    able = sum(n > int(next((o[12:] for o in options if o.startswith("min_history")), "10")) for n in lengths)
    assert first == f"sharers: {sharers} of {len(lengths)} candidates; {able} are eligible"
    for line in why:
        assert line in "".join(rest)


@pytest.mark.parametrize("clustered", ["candidates", "eligible"])
def test_what_clusters_choose_is_within_the_bounds(clustered: str) -> None:
    rng = np.random.default_rng(0)
    for trial in range(30):
        lengths = tuple(rng.integers(0, 25, size=12).tolist())
        own, clusters = data(*lengths), int(rng.integers(1, 10))
        settings = load_settings("small", [f"clusters={clusters}", f"clustered={clustered}"])
        found = funnel(own, settings)
        users = [u for u in own.candidates if len(u.history) > (10 if clustered == "eligible" else 0)]
        if users:
            groups = cluster_users(rng.normal(size=(len(users), 3)), clusters, trial)
            chosen = choose_sharers(users, groups, min_history=10, heldout=0.2, seed=0)
            assert found.least <= len(chosen) <= found.most
            if clustered == "eligible":
                assert found.least == found.most == len(chosen)


def test_a_run_has_the_sharers_that_the_funnel_counts(
    quick: Callable[..., Any], small_data: Callable[[str], Any]
) -> None:
    from prime_audit.lamp.readers import read

    everybody = ["clustered=eligible", "clusters=50", "min_history=4"]
    run = quick("np,nearest", games="", sets=everybody)
    task = run.record.data[0].task
    found = funnel(read(small_data(task)), load_settings("laptop", everybody))
    assert found.least == found.most == len(run.record.community[task]["sharers"])


def test_more_people_and_items_detect_less() -> None:
    for name in ("heldout", "inclusion", "target"):
        game = load_game(name)
        few, many = (
            detectable(game, Size(sharers=n, targets=n, merged=3, items=items, own_items=items))
            for n, items in ((8, 8), (40, 16))
        )
        assert few is not None
        assert many is not None
        assert 0.5 < many < few < 0.75
    assert (
        detectable(load_game("heldout"), Size(sharers=3, targets=3, merged=3, items=8, own_items=8)) is None
    )


def test_an_audit_that_can_find_nothing_says_so() -> None:
    said = "\n".join(outlook(data(3, 4), load_settings("small")))
    assert "sharers: 0 of 2 candidates" in said
    assert (
        "game heldout: too small for a verdict: 0 sharers, 0 items each; needs at least 5 sharers with held-out"
        in said
    )
    assert "in game target" in said
