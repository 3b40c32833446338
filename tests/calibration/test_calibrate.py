"""The auditor's examination: deterministic, and its parts do what they say."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from prime_audit.calibration.calibrate import ATTACKS, calibrate
from prime_audit.calibration.mechanisms import gaussian_mu, item_response
from prime_audit.calibration.scenarios import PEOPLE, SCENARIOS
from prime_audit.calibration.trials import outcome, trials
from prime_audit.errors import UserError
from prime_audit.games.exam.simulated import HELD, RANDOM, World, simulated
from prime_audit.plugins.loading import load_game


@pytest.fixture(scope="module")
def merged(
    small_data: Callable[[str], Path], small: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Make a small run whose signals are the real pass."""
    import torch

    from prime_audit import compare

    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("calibrate") / "run"
    data = str(small_data("LaMP-2"))
    words = {"tasks": "LaMP-2", "data": data, "overrides": small, "attacks": ATTACKS, "out": out}
    compare("prime", **words, cache=None, quiet=True)
    return out


@pytest.mark.slow
def test_the_same_seed_gives_the_same_figures(merged: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        calibrate(nulls=3, run=merged, out=tmp_path / name)
    content, again = (
        json.loads((tmp_path / name / "calibration.json").read_text(encoding="utf-8"))
        for name in ("one", "two")
    )
    assert content.pop("seconds") > 0
    assert again.pop("seconds") > 0
    assert content == again
    kinds = {(a["what"], a["source"], a["game"]) for a in content["audits"]}
    real = f"real pass, {len(ATTACKS)} attacks"
    assert {("null", "simulated", g) for g in ("paper", "heldout", "target", "inclusion")} < kinds
    assert {("null", real, g) for g in ("paper", "heldout", "inclusion")} < kinds
    assert {s.what for s in SCENARIOS} < {what for what, _, _ in kinds}
    boards = [
        a for a in content["audits"] if a["source"] in ("simulated, the run's q", "simulated, board-wide")
    ]
    assert len(boards) == 2
    assert {(c["game"], c["people"]) for c in content["coverages"]} == {
        (game, people) for game in ("heldout", "paper", "target") for people in PEOPLE
    }
    assert content["command"].startswith("prime-audit calibrate --nulls 3")
    assert "target" in content["left_out"]
    page = (tmp_path / "one" / "calibration.md").read_text(encoding="utf-8")
    assert "No real pass of:" in page
    assert " seconds." in page


@pytest.mark.parametrize("game", ["paper", "heldout"])
def test_a_strong_leak_is_found_and_nothing_is_not(game: str) -> None:
    leak = World(strength=1.0)
    strong = [outcome(simulated(load_game(game), rng, leak), 0) for rng in trials(5, 1)]
    assert all(o.p[0] <= 0.05 for o in strong)
    null = [outcome(simulated(load_game(game), rng), 0) for rng in trials(20, 2)]
    assert sum(o.p[0] <= 0.05 for o in null) <= 4
    assert sum(o.leaks for o in null) <= (4 if game == "heldout" else 0)
    assert {o.verdicts[0] for o in strong} == {"leaks" if game == "heldout" else "confounded"}


@pytest.mark.parametrize("held", [*HELD])
def test_drift_in_given_held_out_items_is_no_leak(held: str) -> None:
    world = World(held=held, drift=0.3, sharers=12)
    found = [outcome(simulated(load_game("heldout"), rng, world), 0) for rng in trials(8, 5)]
    assert sum(o.leaks for o in found) <= 2
    if held != RANDOM:  # places tell that they were selected
        assert all(o.verdicts[0] == "confounded" for o in found)
        assert not any(o.epsilon for o in found)


def test_a_model_that_tells_how_many_are_in_does_not_leak_who() -> None:
    world = World(count=2.0)
    found = [
        outcome(simulated(load_game("inclusion"), rng, world, everything=True), 0) for rng in trials(20, 6)
    ]
    assert sum(o.leaks for o in found) <= 4
    assert sum(o.epsilon for o in found) <= 4


def test_a_few_memorised_members_are_found_where_the_data_are_many() -> None:
    world = World(sharers=50, targets=60, merged=3, items=16, share=0.1, strength=1.5)
    found = [outcome(simulated(load_game("heldout"), rng, world), 0) for rng in trials(3, 7)]
    assert all(o.leaks for o in found)


def test_methods_and_attacks_of_a_world_share_their_labels() -> None:
    (rng,) = trials(1, 8)
    trial = simulated(load_game("heldout"), rng, World(attacks=3, methods=2))
    assert [len(entry.scored) for entry in trial.entries] == [3, 3]
    assert all(entry.dealt is trial.dealt for entry in trial.entries)
    first, *others = (np.concatenate([*one.scores.values()]) for e in trial.entries for one in e.scored)
    assert all(0.5 < np.corrcoef(first, other)[0, 1] < 1 for other in others)


@pytest.mark.nightly
@pytest.mark.parametrize("game", ["paper", "heldout"])
def test_the_clustered_test_holds_its_level(game: str) -> None:
    found = [outcome(simulated(load_game(game), rng), 0) for rng in trials(200, 3)]
    rate = np.mean([o.p[0] <= 0.05 for o in found])
    assert 0.02 <= rate <= 0.086
    if game == "paper":  # whole sharers are members: items are far from independent
        assert np.mean([o.naive[0] <= 0.05 for o in found]) > 2 * rate


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 8.0])
def test_the_gaussian_shift_is_exactly_as_private_as_said(epsilon: float) -> None:
    mu = gaussian_mu(epsilon, 1e-5)
    x = np.linspace(-30, 30 + mu, 400_001)
    excess = np.maximum(norm.pdf(x, mu) - np.exp(epsilon) * norm.pdf(x), 0)  # δ(ε) by its definition
    assert float(np.trapezoid(excess, x)) == pytest.approx(1e-5, rel=1e-3)


def test_bounds_of_a_known_mechanism_stay_below_it() -> None:
    bounds = [item_response(1.0, 20, 8, rng).value for rng in trials(100, 4)]
    assert sum(b > 1.0 for b in bounds) <= 10
    assert np.mean(bounds) > 0.3


@pytest.mark.slow
def test_modules_with_privacy_are_bounded_by_it() -> None:
    from prime_audit.calibration.calibrate_dp import dp_bounds

    found = dp_bounds(2, 0)
    assert [b.epsilon is None for b in found] == [False, False, True]
    assert all(b.bounds == 2 and b.highest <= b.ceiling for b in found)
    assert all(b.exceed == 0 for b in found)
    assert all(b.epsilon <= 8 for b in found if b.epsilon is not None)


@pytest.mark.parametrize(
    "words", [{"nulls": 0}, {"nulls": 1, "dp_modules": -1}, {"nulls": 1, "run": Path("nowhere")}]
)
def test_bad_input_is_one_line(words: dict[str, Any]) -> None:
    with pytest.raises(UserError) as said:
        calibrate(**words)
    assert "\n" not in str(said.value)
