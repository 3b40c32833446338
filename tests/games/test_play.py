"""Playing on hand-made signals: what shadow models may tell, whose coins count, what counts as a clean non-member."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from prime_audit.audit.bounds import empirical_epsilon
from prime_audit.audit.pool import Pool
from prime_audit.audit.signals import Signals
from prime_audit.games.exam.observed import Observed
from prime_audit.games.exam.play import Effort, Player
from prime_audit.games.exam.queries import Reader
from prime_audit.games.exam.stored import Pass
from prime_audit.plugins import Attack
from prime_audit.plugins.loading import load_attack, load_game

OWNERS = [owner for owner in "abcd" for _ in range(4)]
ROWS = len(OWNERS)
EVERY = np.ones(ROWS, dtype=np.bool_)
NEAR = {t: dict.fromkeys("abcd", 0.5) for t in ("t", "u", "v")}


def pool(trained: np.ndarray = EVERY, twins: dict[int, list[str]] | None = None) -> Pool:
    words = [f"word{n} rain" for n in range(ROWS)]
    near = [(twins or {}).get(row, []) for row in range(ROWS)]
    texts = {"owners": OWNERS, "ids": words, "prompts": words, "golds": words}
    return Pool(**texts, trained=trained, last=EVERY, drawn=EVERY, twins=near)


def observed(seed: int) -> Observed:
    rng = np.random.default_rng(seed)
    return Observed(logprobs=[rng.normal(-2, 1, 3) for _ in range(ROWS)])


SEEN = {t: observed(n) for n, t in enumerate("tuv")}
COINS = {
    "t": {"a": True, "b": False, "c": True, "d": False},
    "u": {"a": False, "b": True, "c": True, "d": False},
    "v": dict.fromkeys("abcd", True),
}


def passed(merged: Mapping[str, tuple[str, ...]], seen: Mapping[str, Observed] = SEEN, **more: Any) -> Pass:
    return Pass(kind="x", method="m", labels=["m"], merged=merged, seen=seen, **more)


def play_coins(coins: dict[str, dict[str, bool]], attack: Attack) -> Any:
    merged = {t: tuple(s for s, coin in own.items() if coin) for t, own in coins.items()}
    player = Player(pool(), [attack], NEAR, observed(9))
    return player.play(load_game("inclusion"), passed(merged, coins=coins), effort=Effort(20), seed=0)


@pytest.mark.parametrize("name", ["loss", "lira_offline", "reference"])
def test_a_score_never_reads_another_targets_coins(name: str) -> None:
    turned = COINS | {"u": {s: not coin for s, coin in COINS["u"].items()}}
    one, other = (play_coins(coins, load_attack(name)).scored[name].scores["t"] for coins in (COINS, turned))
    np.testing.assert_array_equal(one, other)


def test_without_shadows_lira_online_says_so() -> None:
    played = play_coins(COINS, load_attack("lira_online"))
    assert "undefined for all" in played.silent["lira_online"]


def test_targets_whose_coins_all_fell_alike_count_in_the_bound_alone() -> None:
    played = play_coins(COINS, load_attack("loss"))
    assert [d.target for d in played.dealt] == ["t", "u", "v"]
    (found,) = played.judged
    assert set(found.estimate.per_target) == {"t", "u"}
    scored = played.scored["loss"]
    given = (scored.scores, scored.controls["base"])
    assert found.epsilon == empirical_epsilon(played.game.design, played.dealt, *given, attacks=1, seed=0)
    fewer = empirical_epsilon(played.game.design, played.dealt[:2], *given, attacks=1, seed=0)
    assert found.epsilon is not None
    assert found.epsilon.ceiling > fewer.ceiling


def test_a_non_member_that_was_trained_on_after_all_is_counted() -> None:
    trained = np.tile([True, True, False, False], 4)
    merged = dict.fromkeys("tuv", ("a", "b", "c"))
    twins = {
        2: ["a"],
        3: ["d"],
        6: ["c", "d"],
        0: ["a"],
    }  # rows 2 and 6 by merged sharers, 3 not, 0 is a member
    counts = []
    for some in (None, twins):
        player = Player(pool(trained, some), [load_attack("loss")], NEAR, observed(9))
        played = player.play(load_game("heldout"), passed(merged), effort=Effort(20), seed=0)
        (leak,) = played.leaks("T", "m")
        counts.append(leak.both_sides)
    assert counts == [0, 2 * 3]


def test_a_score_unknown_under_the_base_is_counted_and_decides_nothing() -> None:
    trained = np.tile([True, False], 8)
    base, own = observed(9), SEEN["t"]

    def score(signals: Signals) -> np.ndarray:
        means = np.array([row.mean() for row in signals.logprobs])
        known = signals.logprobs[0][0] != base.logprobs[0][0]
        return means if known else np.where(np.arange(means.size) < 9, np.nan, means)

    player = Player(
        pool(trained),
        [Attack(name="some", summary="", source="", needs=("logprobs",), score=score)],
        NEAR,
        base,
    )
    one = passed({"t": ("a", "b", "c", "d")}, {"t": own})
    played = player.play(load_game("heldout"), one, effort=Effort(20), seed=0)
    (leak,) = played.leaks("T", "m")
    assert (leak.undefined, leak.undefined_base) == (0, 9)
    assert leak.verdict == "too few to say"


def test_without_known_non_members_recall_is_undefined_not_a_half() -> None:
    attack = load_attack("recall")
    engine = SimpleNamespace(
        observe=lambda probes, moments, tick: [
            SimpleNamespace(logprobs=[np.full(3, -1.0) for _ in p.golds], mu=None, sigma=None) for p in probes
        ]
    )

    class Stage:
        def __enter__(self) -> None: ...
        def __exit__(self, *fault: object) -> None: ...

    community = SimpleNamespace(engine=engine, stage=lambda *words: Stage(), number=lambda key: 0)
    base = Reader(community, pool(), [attack]).see_base()  # type: ignore[arg-type]
    played = Player(pool(), [attack], NEAR, base).play(
        load_game("paper"), passed({"t": ("a",)}, {"t": base}), effort=Effort(20), seed=0
    )
    assert "undefined for all" in played.silent["recall"]


def test_what_says_nothing_of_one_target_is_left_out_with_her_alone() -> None:
    rng, names = np.random.default_rng(0), ("t", "u")
    marks = np.tile([True, False], 8)
    words = [f"word{n} rain" for n in range(16)]
    owners = [o for o in "abcd" for _ in range(4)]
    texts = {"owners": owners, "ids": words, "prompts": words, "golds": words}
    whole = Pool(**texts, trained=marks, last=marks, drawn=~np.zeros(16, bool), twins=[()] * 16)
    passes = {name: Observed(logprobs=[rng.normal(-2, 1, 3) for _ in words]) for name in (*names, "base")}
    secret = passes["u"].logprobs[0][0]

    def score(signals: Signals) -> np.ndarray:
        found = np.array([row.mean() for row in signals.logprobs])
        return np.where(signals.logprobs[0][0] == secret, np.nan, found)

    attacks = [
        Attack(name="some", summary="", source="", needs=("logprobs",), score=score),
        load_attack("loss"),
    ]
    near = {name: dict.fromkeys("abcd", 0.5) for name in names}
    player = Player(whole, attacks, near, passes["base"])
    merged = {"t": tuple("abc"), "u": tuple("abd")}
    one = passed(merged, {n: passes[n] for n in names})
    played = player.play(load_game("heldout"), one, effort=Effort(50), seed=0)
    results = {r.attack: r for r in played.results("T", "m") if r.metric == "auc"}
    assert (results["some"].targets, results["loss"].targets) == (1, 2)
    own = [float(passes["t"].logprobs[i].mean()) for i in range(12)]
    assert results["some"].value == pytest.approx(roc_auc_score(marks[:12], own))
    leaks = {leak.attack: leak for leak in played.leaks("T", "m")}
    assert (leaks["some"].undefined, leaks["some"].members, leaks["loss"].members) == (12, 6, 12)
