"""Higher = member on a planted leak, nothing where there is none, and only what was declared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from prime_audit.audit.auc import auc
from prime_audit.audit.signals import FIELDS, Signals, settle
from prime_audit.plugins.loading import available, load_attack

World = Callable[[int, float], tuple[Signals, np.ndarray]]
ATTACKS = sorted(
    name for name, listed in available("attack").items() if listed.module.startswith("prime_attacks.")
)


def area(name: str, signals: Signals, members: np.ndarray) -> float:
    attack = load_attack(name)
    scores, _ = settle(attack.score(signals.only(attack.needs)))
    return auc(scores[members], scores[~members])


def test_every_attack_the_issue_names_is_there() -> None:
    named = (
        "loss loss_mean reference ratio zlib lowercase mink minkpp recall surp rmia lira_offline lira_online "
        "lira rmia_item info_rmia"
    )
    later = "wbc ez mink_ref minkpp_ref samia gradnorm alignment shift"
    assert set(ATTACKS) >= {*named.split(), "user_level", *later.split()}


@pytest.mark.parametrize("name", ATTACKS)
def test_members_score_higher_where_their_golds_were_raised(name: str, make_world: World) -> None:
    strong = [area(name, *make_world(seed, 1.5)) for seed in range(5)]
    weak = [area(name, *make_world(seed, 0.4)) for seed in range(5)]
    assert min(strong) > 0.6
    assert np.mean(strong) >= max(0.7, float(np.mean(weak)))
    assert np.mean(weak) > 0.5


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_where_nothing_was_planted(name: str, make_world: World) -> None:
    areas = np.array([area(name, *make_world(seed, 0.0)) for seed in range(30)])
    assert abs(areas.mean() - 0.5) < 3 * areas.std(ddof=1) / np.sqrt(areas.size)
    assert abs(areas.mean() - 0.5) < 0.04


@pytest.mark.parametrize("name", ATTACKS)
def test_the_order_of_items_does_not_matter(name: str, make_world: World) -> None:
    signals, _ = make_world(0, 1.0)
    attack = load_attack(name)
    order = np.random.default_rng(0).permutation(len(signals.texts))
    moved = {
        field: getattr(signals, field)
        if field.startswith("population")
        else [getattr(signals, field)[i] for i in order]
        for field in attack.needs
    }
    expected = attack.score(signals.only(attack.needs))[order]
    np.testing.assert_allclose(attack.score(Signals(**moved)), expected, rtol=1e-12)


def test_declared_needs_are_fields_and_none_is_for_controls() -> None:
    for name in ATTACKS:
        assert set(load_attack(name).needs) <= set(FIELDS)
    assert not {"members", "similarity"} & set(FIELDS)
