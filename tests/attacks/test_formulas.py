"""Each attack against an independent computation, written out from raw logits."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from prime_audit.audit.signals import Signals
from prime_audit.plugins.loading import load_attack

LOGITS = [[2, 1, 0, -1], [3, -1, 0.5, 0], [-2, 0, 1, 4], [1, 1.5, -0.5, 0.25]]
GOLDS = [0, 1, 3, 0]
BASE = [[1, 1, 0, 0], [1, 0, 0.5, 0], [0, 0, 1, 2], [0, 1.5, 0, 0.5]]


def moments(
    logits: Sequence[Sequence[float]], golds: Sequence[int]
) -> tuple[list[float], list[float], list[float]]:
    logprobs, means, deviations = [], [], []
    for row, gold in zip(logits, golds, strict=True):
        total = sum(math.exp(x) for x in row)
        logp = [x - math.log(total) for x in row]
        mean = sum(math.exp(x) * x for x in logp)
        logprobs.append(logp[gold])
        means.append(mean)
        deviations.append(math.sqrt(sum(math.exp(x) * x * x for x in logp) - mean**2))
    return logprobs, means, deviations


LL, MU, SIGMA = moments(LOGITS, GOLDS)
BASE_LL, BASE_MU, BASE_SIGMA = moments(BASE, GOLDS)


def score(name: str, **fields: Any) -> np.ndarray:
    attack = load_attack(name)
    assert set(attack.needs) == set(fields)
    return np.asarray(attack.score(Signals(**fields)))


def rows(*lists: Sequence[float]) -> list[np.ndarray]:
    return [np.array(one, dtype=np.float64) for one in lists]


NLL, NLL_BASE = -sum(LL) / 4, -sum(BASE_LL) / 4


def test_vectors_worked_by_hand_of_mink_and_minkpp(monkeypatch: pytest.MonkeyPatch) -> None:
    import prime_attacks.mink
    import prime_attacks.minkpp

    monkeypatch.setattr(prime_attacks.mink, "K", 0.5)
    monkeypatch.setattr(prime_attacks.minkpp, "K", 0.5)
    assert score("mink", logprobs=rows(LL)) == pytest.approx([-2.6735790156], abs=1e-10)
    found = score("minkpp", logprobs=rows(LL), mu=rows(MU), sigma=rows(SIGMA))
    assert found == pytest.approx([-1.8933046460], abs=1e-10)


def test_shares_fixed_beforehand() -> None:
    import prime_attacks._ratio
    import prime_attacks.mink
    import prime_attacks.minkpp
    import prime_attacks.rmia
    import prime_attacks.rmia_item
    import prime_attacks.surp

    assert prime_attacks.mink.K == prime_attacks.minkpp.K == 0.2
    assert (prime_attacks._ratio.A, prime_attacks.rmia.GAMMA, prime_attacks.rmia_item.GAMMA) == (
        0.3,
        1.0,
        1.0,
    )
    assert (prime_attacks.surp.K, prime_attacks.surp.MAX_ENTROPY) == (0.4, 2.0)


def test_loss_and_its_relatives() -> None:
    assert score("loss", logprobs=rows(LL)) == pytest.approx([sum(LL)])
    assert score("loss_mean", logprobs=rows(LL)) == pytest.approx([-NLL])
    both = {"logprobs": rows(LL), "base_logprobs": rows(BASE_LL)}
    assert score("reference", **both) == pytest.approx([NLL_BASE - NLL])
    assert score("ratio", **both) == pytest.approx([-NLL / NLL_BASE])
    text = "Überraschung am Montag"
    assert score("zlib", logprobs=rows(LL), texts=[text]) == pytest.approx(
        [-NLL / len(zlib.compress(text.encode("utf-8")))]
    )
    lower = {"logprobs": rows(LL), "lower_logprobs": rows([-1.0, -2.5])}
    assert score("lowercase", **lower, texts=["Up"]) == pytest.approx([-NLL / 1.75])
    assert score("recall", logprobs=rows(LL), prefix_logprobs=rows([-2.0] * 4)) == pytest.approx([2.0 / NLL])


def test_mink_takes_the_lowest_fifth_and_at_least_one() -> None:
    ten = [-float(i) for i in range(10)]
    assert score("mink", logprobs=rows(ten, LL)) == pytest.approx([-8.5, min(LL)])
    fifteen = [-float(i) for i in range(15)]
    assert score("mink", logprobs=rows(fifteen)) == pytest.approx([-13.0])


def test_minkpp_is_zero_where_the_model_has_no_spread() -> None:
    found = score("minkpp", logprobs=rows([0.0, -9.0]), mu=rows([0.0, 0.0]), sigma=rows([0.0, 0.0]))
    assert found.tolist() == [0.0]


def test_surp_on_tokens_both_unlikely_and_sure() -> None:
    # The two lowest of five are -5 and -4; only the second stands where the entropy (-mu) is below 2 nats.
    logprobs, mu = [-5.0, -4.0, -1.0, -2.0, -3.0], [-2.5, -1.9, -0.1, -0.1, -0.1]
    assert score("surp", logprobs=rows(logprobs), mu=rows(mu)).tolist() == [-4.0]
    entropies = [-m for m in MU]
    low = sorted(range(4), key=lambda t: LL[t])[: max(1, int(0.4 * 4))]
    expected = [LL[t] for t in low if entropies[t] < 2.0]
    assert score("surp", logprobs=rows(LL), mu=rows(MU)) == pytest.approx([np.mean(expected)])


ITEMS, ITEM_OUT = rows(LL, BASE_LL, [-0.9]), rows([1.2, 2.0], [0.9], [1.0, 1.4])
ITEM_IN = rows([0.8, 0.7, 1.0], [0.6], [0.2, 0.3])
CROWD, CROWD_OUT = (
    rows([-1.0, -2.0], [-0.1], [-3.0], [-0.7, -0.9, -1.1]),
    rows([1.0], [0.4, 0.2], [2.0, 4.0], [0.9, 0.8]),
)


def likelihood(row: np.ndarray) -> float:
    return math.exp(sum(row) / len(row))


def mean_p(nll: np.ndarray) -> float:
    return sum(math.exp(-x) for x in nll) / len(nll)


def p_offline(out: np.ndarray) -> float:
    return 0.5 * ((1 + 0.3) * mean_p(out) + (1 - 0.3))


def dominated(ours: Sequence[float]) -> list[float]:
    """Share of the population with a lower ratio; the item's own place counts r/(1 + r)."""
    theirs = [likelihood(z) / p_offline(out) for z, out in zip(CROWD, CROWD_OUT, strict=True)]
    return [(sum(x / z > 1.0 for z in theirs) + x / (1 + x)) / (len(theirs) + 1) for x in ours]


def test_rmia_is_the_share_of_the_population_beaten() -> None:
    crowd = {"population_logprobs": CROWD, "population_out_nll": CROWD_OUT}
    ours = [likelihood(x) / p_offline(out) for x, out in zip(ITEMS, ITEM_OUT, strict=True)]
    found = score("rmia", logprobs=ITEMS, out_nll=ITEM_OUT, **crowd)
    assert found == pytest.approx(dominated(ours))
    assert 0 < found[0] < 1
    both = [
        likelihood(x) / ((mean_p(i) + mean_p(o)) / 2)
        for x, i, o in zip(ITEMS, ITEM_IN, ITEM_OUT, strict=True)
    ]
    by_item = score("rmia_item", logprobs=ITEMS, item_in_nll=ITEM_IN, item_out_nll=ITEM_OUT, **crowd)
    assert by_item == pytest.approx(dominated(both))


def test_rmia_breaks_ties_by_the_ratio_and_changes_no_other_order() -> None:
    rng = np.random.default_rng(0)
    many = [-rng.exponential(size=3) for _ in range(50)]
    out = [rng.exponential(size=2) for _ in many]
    found = score("rmia", logprobs=many, out_nll=out, population_logprobs=CROWD, population_out_nll=CROWD_OUT)
    ratios = [likelihood(x) / p_offline(o) for x, o in zip(many, out, strict=True)]
    assert np.argsort(found).tolist() == np.argsort(ratios).tolist()
    assert len(set(found.tolist())) == 50
    theirs = sorted(likelihood(z) / p_offline(o) for z, o in zip(CROWD, CROWD_OUT, strict=True))
    assert np.floor(found * 5).tolist() == np.searchsorted(theirs, ratios).tolist()


def test_info_rmia_adds_the_divergence_of_the_population() -> None:
    found = score(
        "info_rmia",
        logprobs=ITEMS,
        out_nll=ITEM_OUT,
        population_logprobs=CROWD,
        population_out_nll=CROWD_OUT,
    )
    p = np.array([p_offline(out) for out in CROWD_OUT])
    under = np.array([likelihood(z) for z in CROWD])
    divergence = float((p / p.sum() * np.log(p / under)).sum())
    expected = [math.log(likelihood(x) / p_offline(o)) for x, o in zip(ITEMS, ITEM_OUT, strict=True)]
    assert found == pytest.approx(np.array(expected) + divergence)


def test_item_level_lira_is_the_ratio_of_gaussians_of_logits() -> None:
    def logit(nll: float) -> float:
        p = math.exp(-nll)
        return math.log(p / (1 - p))

    sides = [[np.array([logit(x) for x in own]) for own in side] for side in (ITEM_IN, ITEM_OUT)]
    expected = [
        norm.logpdf(logit(-float(x.mean())), i.mean(), pooled(sides[0]))
        - norm.logpdf(logit(-float(x.mean())), o.mean(), pooled(sides[1]))
        for x, i, o in zip(ITEMS, *sides, strict=True)
    ]
    found = score("lira", logprobs=ITEMS, item_in_nll=ITEM_IN, item_out_nll=ITEM_OUT)
    assert found == pytest.approx(expected)


def test_item_level_lira_with_many_shadows_uses_the_items_own_deviations() -> None:
    rng = np.random.default_rng(1)
    inside, outside = ([rng.uniform(low, 2, size=16) for _ in range(2)] for low in (0.5, 1.5))
    found = score("lira", logprobs=rows([-1.0], [-0.7]), item_in_nll=inside, item_out_nll=outside)

    def logit(nll: Any) -> Any:
        return np.log(np.exp(-nll) / (1 - np.exp(-nll)))

    sides = [[logit(own) for own in side] for side in (inside, outside)]
    expected = [
        norm.logpdf(logit(x), i.mean(), i.std(ddof=1)) - norm.logpdf(logit(x), o.mean(), o.std(ddof=1))
        for x, i, o in zip((1.0, 0.7), *sides, strict=True)
    ]
    assert found == pytest.approx(expected)


@pytest.mark.filterwarnings("error")
def test_item_level_lira_where_a_model_is_certain_or_has_no_shadows() -> None:
    found = score(
        "lira",
        logprobs=rows([0.0], [-1.0], [-1.0]),
        item_in_nll=rows([0.0, 0.0], [], [0.5, 0.6]),
        item_out_nll=rows([1.0, 2.0], [], [1.1, 1.2]),
    )
    assert np.isfinite(found).tolist() == [True, False, True]
    assert found[0] > 0


def pooled(rows_: list[np.ndarray]) -> float:
    squares = sum(float(((r - r.mean()) ** 2).sum()) for r in rows_ if len(r))
    return math.sqrt(squares / sum(len(r) - 1 for r in rows_ if len(r)))


def test_lira_with_few_modules_pools_the_deviation() -> None:
    items, outs, ins = rows(LL, BASE_LL), rows([1.5, 1.9, 1.4], [1.1]), rows([0.9, 0.6], [0.8, 0.7, 0.4])
    phi = np.array([-NLL, -NLL_BASE])
    mean_out, mean_in = np.array([-1.6, -1.1]), np.array([-0.75, -19 / 30])
    offline = score("lira_offline", logprobs=items, out_nll=outs)
    assert offline == pytest.approx((phi - mean_out) / pooled(outs))
    tail = norm.sf((phi - mean_out) / pooled(outs))  # the paper's 1 - P[N > phi] orders items the same way
    assert np.argsort(offline).tolist() == np.argsort(1 - tail).tolist()
    online = score("lira_online", logprobs=items, out_nll=outs, in_nll=ins)
    expected = norm.logpdf(phi, mean_in, pooled(ins)) - norm.logpdf(phi, mean_out, pooled(outs))
    assert online == pytest.approx(expected)


def test_lira_with_many_modules_uses_the_items_own_deviation() -> None:
    rng = np.random.default_rng(0)
    outs = [rng.normal(2, 0.1, size=16), rng.normal(2, 0.5, size=15)]
    found = score("lira_offline", logprobs=rows([-1.0], [-1.0]), out_nll=outs)
    own, common = outs[0].std(ddof=1), pooled(outs)
    assert found == pytest.approx([(outs[0].mean() - 1) / own, (outs[1].mean() - 1) / common])


def test_lira_with_the_base_alone_is_the_reference_attack() -> None:
    found = score("lira_offline", logprobs=rows(LL, BASE_LL), out_nll=rows([1.5], [2.5]))
    assert found == pytest.approx([1.5 - NLL, 2.5 - NLL_BASE])


def test_user_level_is_the_mean_gain_of_the_owner() -> None:
    found = score(
        "user_level",
        logprobs=rows([-1.0], [-1.0, -3.0], [-4.0]),
        base_logprobs=rows([-2.0], [-2.5, -3.5], [-4.5]),
        owners=["b", "a", "b"],
    )
    assert found == pytest.approx([0.75, 1.0, 0.75])


def test_mink_ref_and_minkpp_ref_subtract_the_bases_own_lowest() -> None:
    def least(values: Sequence[float]) -> float:
        low = sorted(values)[: max(1, math.floor(0.2 * len(values)))]
        return sum(low) / len(low)

    def z(logprobs: Sequence[float], mu: Sequence[float], sigma: Sequence[float]) -> list[float]:
        return [(x - m) / s for x, m, s in zip(logprobs, mu, sigma, strict=True)]

    twice, base = rows(LL, LL * 3), rows(BASE_LL, BASE_LL * 3)
    found = score("mink_ref", logprobs=twice, base_logprobs=base)
    assert found == pytest.approx([least(LL) - least(BASE_LL), least(LL * 3) - least(BASE_LL * 3)])
    found = score(
        "minkpp_ref",
        logprobs=rows(LL),
        mu=rows(MU),
        sigma=rows(SIGMA),
        base_logprobs=rows(BASE_LL),
        base_mu=rows(BASE_MU),
        base_sigma=rows(BASE_SIGMA),
    )
    assert found == pytest.approx([least(z(LL, MU, SIGMA)) - least(z(BASE_LL, BASE_MU, BASE_SIGMA))])


def test_shift_is_as_far_down_as_up() -> None:
    own, base = [[-1.0, -3.0], [-2.0], [-np.inf]], [[-2.0, -3.0], [-0.5], [-np.inf]]
    found = score("shift", logprobs=rows(*own), base_logprobs=rows(*base))
    assert found.tolist() == pytest.approx([0.5, 1.5, np.nan], nan_ok=True)
    up, down = ([LL, BASE_LL], [BASE_LL, LL])
    assert score("shift", logprobs=rows(*up), base_logprobs=rows(*down)).std() == 0


def windows(gains: Sequence[float]) -> float:
    """Equations 10 to 13 of the WBC paper, window by window."""
    shares = []
    for k in range(10):
        width = min(round(2 * 20 ** (k / 9)), len(gains))
        sums = [math.fsum(gains[i : i + width]) for i in range(len(gains) - width + 1)]
        shares.append(sum(s > 0 for s in sums) / len(sums))
    return sum(shares) / 10


def test_wbc_counts_the_windows_in_which_the_base_loses() -> None:
    import prime_attacks.wbc

    assert prime_attacks.wbc.WINDOWS == (2, 3, 4, 5, 8, 11, 15, 21, 29, 40)
    rng = np.random.default_rng(0)
    own, base = (-rng.exponential(size=60) for _ in range(2))
    found = score("wbc", logprobs=rows(own, own[:1], LL), base_logprobs=rows(base, base[:1], BASE_LL))
    gains = [a - b for a, b in zip(LL, BASE_LL, strict=True)]
    expected = [windows((own - base).tolist()), windows((own - base)[:1].tolist()), windows(gains)]
    assert found == pytest.approx(expected)
    assert 0 < expected[0] < 1
    assert score("wbc", logprobs=rows(own), base_logprobs=rows(own)).tolist() == [0.0]


def test_ez_is_the_rising_share_of_what_changed_where_the_model_is_wrong() -> None:
    top = [max(range(4), key=row.__getitem__) == gold for row, gold in zip(LOGITS, GOLDS, strict=True)]
    gains = [a - b for a, b, right in zip(LL, BASE_LL, top, strict=True) if not right]
    up, down = sum(g for g in gains if g > 0), -sum(g for g in gains if g < 0)
    assert top == [True, False, True, False]
    assert up > 0
    assert down > 0
    found = score("ez", logprobs=rows(LL), base_logprobs=rows(BASE_LL), top=[np.array(top)])
    assert found == pytest.approx([up / (up + down)])


def test_ez_ranks_what_only_rose_first_and_what_did_not_move_in_the_middle() -> None:
    own, base = [[-1.0, -1.0], [-1.0, -3.0], [-2.0, -1.0]], [[-2.0, -1.5], [-2.0, -2.5], [-2.0, -1.0]]
    wrong = [np.zeros(2, dtype=np.bool_)] * 3
    found = score("ez", logprobs=rows(*own), base_logprobs=rows(*base), top=wrong)
    assert found == pytest.approx([1.0, 2 / 3, 0.5])


def test_samia_is_the_mean_recall_of_the_second_halfs_words() -> None:
    texts = ["one two three four four", "label", "Half of it"]
    told = [["four four three two", "four"], ["label label", "other", "Label"], ["of of", "it of it"]]
    # "three four four": 3 of 3 words (the sample is cut to three), then 1 of 3. "of it": 1 of 2, then 2 of 2.
    expected = [(3 / 3 + 1 / 3) / 2, 1 / 3, (1 / 2 + 2 / 2) / 2]
    assert score("samia", texts=texts, continuations=told) == pytest.approx(expected)


UNDEFINED: list[tuple[str, dict[str, Any]]] = [
    ("ratio", {"logprobs": rows([-1.0]), "base_logprobs": rows([0.0])}),
    ("recall", {"logprobs": rows([0.0, 0.0]), "prefix_logprobs": rows([-1.0, -1.0])}),
    ("lowercase", {"logprobs": rows([-1.0]), "lower_logprobs": rows([-1.0]), "texts": ["all lower"]}),
    ("lowercase", {"logprobs": rows([-1.0]), "lower_logprobs": rows([0.0]), "texts": ["Up"]}),
    ("surp", {"logprobs": rows([-1.0]), "mu": rows([-2.0])}),
    ("lira_online", {"logprobs": rows([-1.0]), "in_nll": rows([]), "out_nll": rows([1.0])}),
    (
        "rmia",
        {
            "logprobs": rows([-1.0]),
            "out_nll": rows([1.0]),
            "population_logprobs": [],
            "population_out_nll": [],
        },
    ),
    (
        "info_rmia",
        {
            "logprobs": rows([-1.0]),
            "out_nll": rows([1.0]),
            "population_logprobs": [],
            "population_out_nll": [],
        },
    ),
    ("lira", {"logprobs": rows([-1.0]), "item_in_nll": rows([]), "item_out_nll": rows([])}),
    ("reference", {"logprobs": rows([-math.inf]), "base_logprobs": rows([-math.inf])}),
    ("mink_ref", {"logprobs": rows([-math.inf]), "base_logprobs": rows([-math.inf])}),
    ("ez", {"logprobs": rows([-1.0]), "base_logprobs": rows([-2.0]), "top": [np.array([True])]}),
    ("samia", {"texts": ["a b"], "continuations": [[]]}),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "fields"), UNDEFINED, ids=[name for name, _ in UNDEFINED])
def test_what_has_no_score_is_nan_without_a_warning(name: str, fields: dict[str, Any]) -> None:
    assert np.isnan(score(name, **fields)).tolist() == [True]


def test_an_undefined_item_leaves_the_others_alone() -> None:
    some = score(
        "lira_online", logprobs=rows(LL, LL), in_nll=rows([], [1.0, 1.1]), out_nll=rows([1.5], [2.0, 2.2])
    )
    assert np.isnan(some).tolist() == [True, False]
