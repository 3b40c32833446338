"""``--metric chrf``: the metric of texts in results, comparisons, record and warnings of a whole run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prime_audit import Run, UserError, compare
from prime_audit.lamp.tasks import TASKS
from prime_audit.plan.plan import make_plan
from prime_audit.runs import utility

WORDS = ("今天天气", "北京下雪", "花鸟鱼虫", "山河日月")


@pytest.fixture(scope="module")
def chinese(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "items.LaMP-4.jsonl"
    rows = [
        {"user": f"u{u}", "input": WORDS[n % 4] * 4, "output": f"{WORDS[(n + u) % 4]}{'好' * (1 + u % 3)}"}
        for u in range(12)
        for n in range(8)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def ran(small: tuple[str, ...], llama_folder: Path, chinese: Path, tmp_path: Path) -> Callable[..., Run]:
    def go(**words: Any) -> Run:
        sets = [*small, "targets=3"]
        return compare(
            "rag,prime", data=str(chinese), model=str(llama_folder), overrides=sets, games="paper",
            out=tmp_path / "run", cache=None, quiet=True, **words,
        )  # fmt: skip

    return go


def test_rouge_on_chinese_is_warned_of_and_not_searched(ran: Callable[..., Run]) -> None:
    run = ran()
    assert run.record.spec["metric"] == "rouge"
    (warned,) = [w for w in run.record.warnings if "official ROUGE reads only a to z" in w]
    assert "of the letters of 3 of 3 golds" in warned
    assert "pass --metric chrf" in warned
    (stopped,) = [w for w in run.record.warnings if "nothing was searched" in w]
    assert stopped.startswith("LaMP-4: prime: ")
    assert stopped.endswith("(3 of 3 targets)")
    assert {len(row["adapters"]) for row in run.models() if row["method"] == "prime"} == {0}


def test_chrf_is_the_metric_of_everything(ran: Callable[..., Run]) -> None:
    from sacrebleu import sentence_chrf

    run = ran(metric="chrf")
    record = run.record
    assert record.spec["metric"] == "chrf"
    assert record.versions["sacrebleu"] != "missing"
    measured = {r.metric for r in record.results if r.game is None}
    assert measured == {"chrf"}
    assert {c.metric for c in record.comparisons if c.game is None} == {"chrf"}
    for result in (r for r in record.results if r.metric == "chrf"):
        rows = [row for row in run.predictions() if row["method"] == result.method]
        own = [sentence_chrf(row["prediction"].strip(), [row["gold"]]).score / 100 for row in rows]
        assert result.value == pytest.approx(np.mean(own))
        assert result.higher_is_better
    assert not [w for w in record.warnings if "official ROUGE" in w or "nothing was searched" in w]
    assert all(row["notes"]["trace"] for row in run.models() if row["method"] == "prime")
    assert (run.path / "frontier.svg").is_file()
    assert 'metric = "chrf"' in (run.path / "config.toml").read_text(encoding="utf-8")


def test_labels_keep_their_metrics_and_alone_refuse_chrf() -> None:
    plan = make_plan(tasks="LaMP-2,LaMP-4", metric="chrf")
    assert [plan.task(name).metrics for name in plan.tasks] == [("accuracy", "f1"), ("chrf",)]
    assert TASKS["LaMP-4"].metrics == ("rouge-1", "rouge-L")  # the table is no run's own
    with pytest.raises(UserError, match="--metric chrf: scores texts, and the answers of LaMP-3 are labels"):
        make_plan(tasks="LaMP-3", metric="chrf")
    with pytest.raises(UserError, match="--metric bleu: give one of rouge, chrf"):
        make_plan(metric="bleu")


def test_answers_that_rouge_cannot_see_are_counted_by_method() -> None:
    def answers(method: str, *texts: str) -> utility.Answers:
        return utility.Answers(method, ["t"] * 2, ["1", "2"], ["plain", "words"], texts)

    seen = answers("np", "plain", "words")
    assert utility.cautions(TASKS["LaMP-4"], [seen]) == []
    (line,) = utility.cautions(TASKS["LaMP-4"], [seen, answers("rag", "天气", "words")])
    assert "0 of 2 golds and 1 of 2 answers of rag: pass" in line
    assert utility.cautions(TASKS["LaMP-4"].scored_by("chrf"), [answers("rag", "天气", "天气")]) == []
    assert utility.cautions(TASKS["LaMP-2"], [answers("rag", "天气", "天气")]) == []
