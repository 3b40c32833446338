"""Controls: they find what the items themselves give away, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prime_audit.audit.auc import auc
from prime_audit.audit.signals import Signals
from prime_audit.community.store import Store
from prime_audit.engine.mixture import Spent
from prime_audit.games.exam import controls
from prime_audit.games.exam.controls import CONTROLS, bag_of_words, both_sides

WORDS = ["rain", "sun", "snow", "wind", "fog", "hail", "storm", "mist"]


def items(seed: int, shift: float, size: int = 80) -> tuple[Signals, np.ndarray]:
    """Items of six words; with probability ``shift`` a member's holds a word that others never use."""
    rng = np.random.default_rng(seed)
    members = rng.permutation(np.arange(size) % 2 == 0)
    texts = [" ".join(rng.choice(WORDS, size=6)) for _ in members]
    golds = ["Goal" if m and rng.random() < shift else "News" for m in members]
    return Signals(prompts=texts, texts=golds, members=members), members


def area(name: str, signals: Signals) -> float:
    members = signals.members
    scores = CONTROLS[name](signals.only(("prompts", "texts", "members")))
    return auc(scores[members], scores[~members])


def test_bag_of_words_finds_a_shift_in_the_texts() -> None:
    assert area("bag_of_words", items(0, 1.0)[0]) == 1.0
    assert 0.6 < area("bag_of_words", items(0, 0.5)[0]) < 0.9


def test_bag_of_words_scores_items_it_was_not_trained_on() -> None:
    # Random labels, a text of its own an item: trained on them it would reach 1.
    areas = [area("bag_of_words", items(seed, 0.0)[0]) for seed in range(6)]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.08)


def test_bag_of_words_is_the_same_every_time() -> None:
    signals, _ = items(1, 0.5)
    score = CONTROLS["bag_of_words"]
    assert score(signals).tolist() == score(signals).tolist()


@pytest.mark.parametrize(
    ("texts", "members"),
    [(["rain", "sun", "fog"], [True, False, False]), (["…", "!", "?", "–"], [True, True, False, False])],
    ids=["one member", "no words"],
)
def test_bag_of_words_is_undefined_without_material(texts: list[str], members: list[bool]) -> None:
    signals = Signals(prompts=[""] * len(texts), texts=texts, members=np.array(members))
    assert np.isnan(CONTROLS["bag_of_words"](signals)).all()


@pytest.mark.parametrize("between", [False, True])
def test_scores_that_are_kept_are_the_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: bool
) -> None:
    signals, members = items(2, 0.5, size=24)
    owners = [f"u{n % 4}" for n in range(24)]

    def score(store: Store | None, own: Signals = signals, who: list[str] = owners) -> np.ndarray:
        return bag_of_words(own, store, who if between else None)

    def fresh() -> Store:  # remembered within a process by store
        return Store(tmp_path, Spent())

    plain, cold = score(None), score(fresh())
    monkeypatch.setattr(controls, "_classifier", lambda: pytest.fail("fitted again"))
    np.testing.assert_array_equal(score(fresh()), plain)
    np.testing.assert_array_equal(cold, plain)
    prompts, golds = ["other words", *signals.prompts[1:]], signals.texts
    for other in (
        Signals(prompts=prompts, texts=golds, members=members),
        Signals(prompts=signals.prompts, texts=golds, members=~members),
    ):
        with pytest.raises(BaseException, match="fitted again"):
            score(fresh(), other)
    if between:
        with pytest.raises(BaseException, match="fitted again"):
            score(fresh(), who=["u1", *owners[1:]])
    monkeypatch.setattr(controls, "code_sha256", lambda *_: "other code")
    with pytest.raises(BaseException, match="fitted again"):
        score(fresh())


def test_kept_scores_that_are_damaged_are_fitted_again(tmp_path: Path) -> None:
    signals, _ = items(3, 0.5, size=24)
    first = bag_of_words(signals, Store(tmp_path, Spent()))
    (file,) = tmp_path.rglob("arrays.safetensors")
    file.write_bytes(file.read_bytes()[:-8])
    store = Store(tmp_path, Spent())
    np.testing.assert_array_equal(bag_of_words(signals, store), first)
    assert len(store.tally.damaged) == store.tally.made == 1


def test_length_and_similarity() -> None:
    signals = Signals(logprobs=[np.zeros(3), np.zeros(1)], similarity=np.array([0.2, 0.9]))
    assert CONTROLS["length_only"](signals).tolist() == [-3.0, -1.0]
    assert CONTROLS["similarity_only"](signals).tolist() == [0.2, 0.9]


def test_length_confounds_sums_but_not_means() -> None:
    # One per-token law, Poisson 10 + 3 against 14 + 3 tokens.
    rng = np.random.default_rng(0)
    short = [rng.normal(-2, 1, size=rng.poisson(10) + 3) for _ in range(400)]
    long = [rng.normal(-2, 1, size=rng.poisson(14) + 3) for _ in range(400)]
    sums = auc([r.sum() for r in short], [r.sum() for r in long])
    means = auc([r.mean() for r in short], [r.mean() for r in long])
    lengths = CONTROLS["length_only"](Signals(logprobs=[*short, *long]))
    assert 0.69 < sums < 0.80
    assert means == pytest.approx(0.5, abs=0.04)
    assert auc(lengths[:400], lengths[400:]) >= sums - 0.02


def test_both_sides_counts_near_duplicates() -> None:
    texts = ["Rain, again!", "rain again", "Rain  again", "sun", "again rain", "snow"]
    inside, outside = both_sides(texts, [True, False, False, True, False, False])
    assert inside.tolist() == [True, False, False, False, False, False]
    assert outside.tolist() == [False, True, True, False, False, False]
    assert not np.any(both_sides(texts, [True] * 3 + [False] * 3))
    assert [side.size for side in both_sides([], [])] == [0, 0]
