"""Golds and predictions that a metric cannot judge: refused, or counted and reported; never scored as right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prime_audit.errors import UserError
from prime_audit.lamp import metrics
from prime_audit.lamp.scoring import Scored, score_files
from prime_audit.lamp.tasks import TASKS

NEWS = ["politics", "sports", "travel", "business"]
CHINESE = ["今天天气很好", "北京下雪了"]


@pytest.fixture
def scored(tmp_path: Path) -> Callable[..., Scored]:
    """(stated task, golds, predictions) → what ``score`` finds."""

    def go(stated: str, golds: list[Any], preds: list[Any], task: str | None = None, **more: str) -> Scored:
        paths = []
        for name, texts in (("golds", golds), ("preds", preds)):
            rows = [{"id": str(n), "output": text} for n, text in enumerate(texts)]
            paths.append(tmp_path / f"{name}.json")
            paths[-1].write_text(json.dumps({"task": stated, "golds": rows}), encoding="utf-8")
        return score_files(task, *paths, **more)

    return go


def refusal(fault: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(fault.value)
    return str(fault.value)


# -- golds outside the labels ------------------------------------------------------------------------------


def test_golds_of_another_task_are_refused_and_that_task_is_named(scored) -> None:
    with pytest.raises(UserError) as fault:
        scored("LaMP_2", NEWS, ["zzz"] * 4)
    assert refusal(fault).endswith(
        'golds.json: 4 of 4 golds are not labels of LaMP-2 (first: id 0, "politics"). Check --task: they are '
        "labels of LaMP-2N"
    )
    # The older release called the task LaMP_2: the hint can be followed.
    assert scored("LaMP_2", NEWS, NEWS, "LaMP-2N").metrics["accuracy"] == 1.0
    assert scored("LaMP_2N", NEWS, NEWS).metrics["accuracy"] == 1.0
    with pytest.raises(UserError, match=r"is of LaMP-2N, not LaMP-2"):
        scored("LaMP_2N", NEWS, NEWS, "LaMP-2")
    with pytest.raises(UserError, match=r"2 of 3 golds are not labels of LaMP-1 .*Check --task$"):
        scored("LaMP_1", ["[1]", "1", "2"], ["[1]"] * 3)


def test_a_single_gold_outside_the_labels_is_reported_and_wrong(scored) -> None:
    found = scored("LaMP_2", ["comedy", "junk", "action", "classic"], ["comedy", "junk", "action", "x"])
    assert found.metrics["accuracy"] == 0.5
    assert found.metrics["f1"] == pytest.approx(2 / 15)  # as the official code: no class of its own
    (note,) = found.notes
    assert (
        '1 of 4 golds are not labels of LaMP-2 (first: id 1, "junk"); accuracy counts them as wrong' in note
    )


def test_f1_is_over_the_labels_as_the_official_one(scored) -> None:
    from sklearn.metrics import f1_score

    golds, preds = ["comedy", "action", "junk", "junk"], ["comedy", "action", "junk", "action"]
    found = scored("LaMP_2", golds, preds)
    labels = [*TASKS["LaMP-2"].labels]
    due = f1_score(golds, preds, labels=labels, average="macro", zero_division=0)
    assert found.metrics == {"accuracy": 0.5, "f1": pytest.approx(due)}
    assert "macro F1, as the official one, has no class for them" in found.notes[0]


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.sampled_from(["comedy", "action", "junk", ""])] * 2), min_size=1, max_size=12))
def test_junk_never_scores(pairs: list[tuple[str, str]]) -> None:
    task, (golds, preds) = TASKS["LaMP-2"], zip(*pairs, strict=True)
    right = sum(gold == pred and gold in task.labels for gold, pred in pairs)
    table = metrics.metric_table(task, golds, preds, official=True)
    assert table.value("accuracy") == right / len(pairs)
    # Another model's answers as golds: outside the labels they may agree.
    same = sum((a == b) or not {a, b} & {*task.labels} for a, b in pairs)
    assert metrics.metric_table(task, golds, preds).value("accuracy") == same / len(pairs)


@pytest.mark.parametrize("gold", ["five", "0", "6", "nan", "inf", "", "1e300"])
def test_a_rating_that_is_no_score_is_refused(scored, gold: str) -> None:
    with pytest.raises(UserError) as fault:
        scored("LaMP_3", ["4", gold, "2.0"], ["4", "5", "5"])
    assert f'1 of 3 golds are no numbers from 1 to 5 (first: id 1, "{gold}"): correct them' in refusal(fault)


def test_empty_golds_of_texts_are_counted(scored) -> None:
    found = scored("LaMP_4", ["", "a b"], ["", "a b"])
    assert found.metrics["rouge-1"] == 0.5
    assert (
        '1 of 2 golds are empty or a word for a missing value (first: id 0, ""); they score 0'
        in found.notes[0]
    )
    with pytest.raises(UserError, match="2 of 2 golds are empty"):
        scored("LaMP_4", ["", " "], ["", "a b"])
    for word in ("NaN", "None", "null", " <NA> "):
        for metric, name in (("rouge", "rouge-L"), ("chrf", "chrf")):
            found = scored("LaMP_4", [word, "a b"], [word, "a b"], metric=metric)
            assert found.metrics[name] == 0.5
            assert "1 of 2 golds are empty or a word for a missing value" in found.notes[0]


# -- texts that ROUGE cannot see ---------------------------------------------------------------------------


def test_what_rouge_cannot_see_is_reported_and_chrf_sees_it(scored) -> None:
    found = scored("LaMP_4", [*CHINESE, "plain words"], [*CHINESE, "plain words"])
    assert found.metrics["rouge-1"] == pytest.approx(1 / 3)
    assert "of the letters of 2 of 3 golds and 2 of 3 predictions: pass --metric chrf" in found.notes[0]
    assert scored("LaMP_4", ["plain"], ["words"]).notes == ()
    by_characters = scored("LaMP_4", CHINESE, [CHINESE[0], "x"], metric="chrf")
    assert by_characters == Scored({"chrf": 0.5})
    with pytest.raises(UserError, match="--metric chrf: compares texts, and LaMP-2 has labels"):
        scored("LaMP_2", ["comedy"], ["comedy"], metric="chrf")
    with pytest.raises(UserError, match="unknown metric 'chrF'"):
        scored("LaMP_4", ["a"], ["a"], metric="chrF")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("今天天气很好", True),
        ("сегодня", True),
        ("วันนี้อากาศดี", True),
        ("😀😀", True),
        ("iPhone 发布会今天在北京举行", True),  # most of it
        ("naïve café", False),
        ("plain words 12", False),
        ("?!", True),
        (" \n", False),
        ("", False),
    ],
)
def test_unseen(text: str, hidden: bool) -> None:
    assert metrics.unseen(text) is hidden


texts = st.text(alphabet="ab c天气好я.", max_size=12)


@settings(deadline=None)
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_chrf_is_sacrebleus_mean_over_sentences(pairs: list[tuple[str, str]]) -> None:
    from sacrebleu import sentence_chrf

    golds, preds = zip(*pairs, strict=True)
    task = TASKS["LaMP-4"].scored_by("chrf")
    expected = [sentence_chrf(pred.strip(), [gold.strip()]).score / 100 for gold, pred in pairs]
    assert task.metrics == ("chrf",)
    assert metrics.score(task, golds, preds) == {"chrf": pytest.approx(sum(expected) / len(expected))}
    assert metrics.utility(task, golds, preds, search=True) == pytest.approx(sum(expected) / len(expected))


def test_the_signature_of_chrf_is_that_of_the_scorer() -> None:
    from sacrebleu.metrics.chrf import CHRF

    scorer = CHRF()
    scorer.sentence_score("a", ["a"])
    assert str(scorer.get_signature()).startswith(f"{metrics.CHRF_SIGNATURE}|version:")
