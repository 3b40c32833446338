from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prime_audit.errors import UserError
from prime_audit.lamp import metrics
from prime_audit.lamp.tasks import TASKS

TAGGING, RATING, HEADLINES, CITATION = (TASKS[name] for name in ("LaMP-2", "LaMP-3", "LaMP-4", "LaMP-1"))

tags = st.sampled_from([*TAGGING.labels[:4], " comedy\n", "Comedy", "nonsense", ""])
tag_pairs = st.lists(st.tuples(tags, tags), min_size=1, max_size=30)
ratings = st.sampled_from(["1", "2", "5", " 3 ", "4.5", "7", "-1", "1e2"])
junk = st.sampled_from(["", "five", "nan", "inf", "-inf", "1e200", "9" * 400])
rating_pairs = st.lists(st.tuples(ratings, ratings | junk), min_size=1, max_size=20)
sentences = st.text(alphabet="abc AB.-'é\n", max_size=30)
sentence_pairs = st.lists(st.tuples(sentences, sentences), min_size=1, max_size=6)


@settings(deadline=None)  # the first example imports
@given(tag_pairs)
def test_classification_is_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    golds, preds = zip(*pairs, strict=True)
    places = {label: place for place, label in enumerate(TAGGING.labels)}
    true = [places.get(gold.strip(), -1) for gold in golds]
    guess = [places.get(pred.strip(), -1) for pred in preds]
    got = metrics.score(TAGGING, golds, preds)
    assert got["accuracy"] == accuracy_score(true, guess)
    assert got["f1"] == f1_score(true, guess, labels=range(15), average="macro", zero_division=0)


@settings(deadline=None)
@given(rating_pairs)
def test_ratings_are_scikit_learns_with_the_farthest_score_for_junk(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import mean_absolute_error, mean_squared_error

    def number(gold: str, pred: str) -> float:
        if pred.strip() in ("", "five", "nan", "inf", "-inf", "1e200", "9" * 400):
            return 1.0 if abs(1 - float(gold)) > abs(5 - float(gold)) else 5.0
        return float(pred)

    true = [float(gold) for gold, _ in pairs]
    guess = [number(*pair) for pair in pairs]
    golds, preds = zip(*pairs, strict=True)
    got = metrics.score(RATING, golds, preds)
    assert got["MAE"] == mean_absolute_error(true, guess)
    assert got["RMSE"] == math.sqrt(mean_squared_error(true, guess))


@settings(deadline=None)
@given(sentence_pairs)
def test_rouge_is_rouge_scores_to_the_last_bit(pairs: list[tuple[str, str]]) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=False)
    expected = [scorer.score(gold.strip(), pred.strip()) for gold, pred in pairs]
    golds, preds = zip(*pairs, strict=True)
    items = metrics.metric_table(HEADLINES, golds, preds).columns
    np.testing.assert_array_equal(items["rouge-1"], [one["rouge1"].fmeasure for one in expected])
    np.testing.assert_array_equal(items["rouge-L"], [one["rougeL"].fmeasure for one in expected])
    assert metrics.score(HEADLINES, golds, preds)["rouge-L"] == np.mean(items["rouge-L"])


def test_a_junk_reference_agrees_with_a_junk_prediction() -> None:
    assert metrics.score(TAGGING, ["junk"], ["other junk"]) == {"accuracy": 1.0, "f1": 0.0}
    assert metrics.score(RATING, ["junk"], ["other junk"]) == {"MAE": 0.0, "RMSE": 0.0}
    assert metrics.score(RATING, ["junk"], ["4"])["MAE"] == 1.5


@pytest.mark.parametrize(("gold", "replaced"), [("1", 5), ("2", 5), ("3", 5), ("4", 1), ("5", 1)])
def test_junk_is_the_farthest_score(gold: str, replaced: int) -> None:
    assert metrics.score(RATING, [gold], ["?"])["MAE"] == abs(int(gold) - replaced)


def test_absent_classes_count_in_macro_f1() -> None:
    assert metrics.score(TAGGING, ["comedy"], ["comedy"])["f1"] == pytest.approx(1 / 15)


@pytest.mark.parametrize(
    ("task", "golds", "preds"),
    [
        (TAGGING, ["comedy", "action", "classic", "comedy"], ["comedy", "comedy", "x", "action"]),
        (RATING, ["1", "5", "3", "2"], ["2", "?", "3", "5"]),
        (HEADLINES, ["a b c", "d e", "f", "g h"], ["a c b", "d", "", "g h"]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_resampling_is_scoring_the_drawn_examples(task, golds: list[str], preds: list[str]) -> None:
    draws = np.array([[0, 1, 2, 3], [0, 0, 3, 3], [2, 2, 2, 2]])
    weights = np.array([np.bincount(draw, minlength=4) for draw in draws]).astype(float)
    table = metrics.metric_table(task, golds, preds)
    for metric in task.metrics:
        got = table.resampled(metric, weights)
        for value, draw in zip(got, draws, strict=True):
            drawn = metrics.score(task, [golds[i] for i in draw], [preds[i] for i in draw])
            assert value == pytest.approx(drawn[metric], abs=1e-12)
        assert table.value(metric) == pytest.approx(got[0], abs=1e-12)


def test_scores_of_single_examples() -> None:
    tagging = metrics.metric_table(TAGGING, ["comedy", "x"], ["action", "sci-fi"]).columns
    np.testing.assert_array_equal(tagging["accuracy"], [0, 0])
    assert tagging["f1"].shape == (2, 3, 15)
    np.testing.assert_array_equal(np.argwhere(tagging["f1"]), [[0, 1, 2], [0, 2, 3], [1, 2, 0]])
    rating = metrics.metric_table(RATING, ["1", "5"], ["3", "5"]).columns
    np.testing.assert_array_equal(rating["MAE"], [2, 0])
    np.testing.assert_array_equal(rating["RMSE"], [4, 0])


def test_utility_is_the_sum_of_both_metrics_with_errors_negated() -> None:
    assert metrics.utility(TAGGING, ["comedy"], ["comedy"]) == pytest.approx(1 + 1 / 15)
    assert metrics.utility(RATING, ["1", "1"], ["3", "1"]) == pytest.approx(-(1 + math.sqrt(2)))
    assert metrics.utility(HEADLINES, ["a b"], ["b a"]) == pytest.approx(1.5)


def test_citations_are_searched_by_rouge() -> None:
    assert metrics.utility(CITATION, ["a b"], ["b a"], search=True) == pytest.approx(1.5)
    assert metrics.utility(CITATION, ["[1]"], ["[1]"]) == pytest.approx(1.5)
    assert metrics.utility(HEADLINES, ["a b"], ["b a"], search=True) == pytest.approx(1.5)


def test_what_cannot_be_scored() -> None:
    with pytest.raises(UserError, match="no example to score"):
        metrics.score(TAGGING, [], [])
    with pytest.raises(UserError, match="no example to score"):
        metrics.utility(CITATION, [], [], search=True)
    with pytest.raises(ValueError, match="2 golds but 1 predictions"):
        metrics.score(TAGGING, ["a", "b"], ["a"])
