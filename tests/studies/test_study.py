"""Studies from end to end, small: what is written, and that every figure is one of the runs beside it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from prime_audit import load_run
from prime_audit.errors import UserError
from prime_audit.folder import Run
from prime_audit.io.markup import number
from prime_audit.lamp.world.world import SIMULATED
from prime_audit.report.columns import LEGEND
from prime_audit.studies import run as studies_run
from prime_audit.studies.catalog import STUDIES
from prime_audit.studies.run import Finished, study

FILES = {"study.json", "run.json", "table.md", "table.csv", "table.tex", "figure.svg", "figure.png", "runs"}
SCHEMA = json.loads(Path(studies_run.__file__).with_name("study.schema.json").read_text(encoding="utf-8"))
Conduct = Callable[..., Finished]


@pytest.fixture(scope="session")
def conduct(
    small_data: Callable[[str], Path],
    small: Sequence[str],
    llama_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Conduct:
    """Run a study on a tiny random Llama: its name, and words of ``study``."""

    def go(name: str, *, task: str = "LaMP-4", sets: Sequence[str] = (), **words: Any) -> Finished:
        words = {"models": [str(llama_folder)], "cache": None} | words
        out = words.pop("out", None) or tmp_path_factory.mktemp(name) / "study"
        overrides = [*small, "clusters=6", *sets]
        return study(name, data=str(small_data(task)), overrides=overrides, out=out, quiet=True, **words)

    return go


@pytest.fixture(scope="session")
def tradeoff(conduct: Conduct) -> Finished:
    return conduct("tradeoff")


def runs_of(done: Finished) -> dict[tuple[str, str], Run]:
    return {(r["model"], r["name"]): load_run(done.path / r["folder"]) for r in done.content["runs"]}


def check(done: Finished) -> None:
    """Everything that holds of every study's folder."""
    assert {p.name for p in done.path.iterdir()} == FILES
    content = json.loads((done.path / "study.json").read_text(encoding="utf-8"))
    assert content == done.content
    jsonschema.validate(content, SCHEMA)
    assert (done.path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (done.path / "figure.svg").read_bytes()
    runs, asked = runs_of(done), done.study
    assert {name for _, name in runs} == set(asked.runs)
    records = {run.path / "record.json" for run in runs.values()}
    assert set((done.path / "runs").rglob("record.json")) == records
    values = {number(r.value) for run in runs.values() for r in run.record.results if r.value is not None}
    page, tex = ((done.path / f"table.{form}").read_text(encoding="utf-8") for form in ("md", "tex"))
    for table in done.report.tables:
        assert len(table.cells) == len(table.labels)
        assert all(len(row) == len(table.head) for row in table.cells)
        assert tex.count("\\begin{tabular}") == len(done.report.tables)
    if asked.report is None and len(asked.runs) == 1:
        cells = [c for t in done.report.tables for row in t.cells for c in row if not c.signed]
        assert {number(c.value) for c in cells if c.value is not None} <= values
        assert all(number(c.value) in page for c in cells if c.value is not None)
    tests = done.report.tests
    assert {(t.first, t.second) for t in tests} <= set(asked.pairs)
    assert all(0 < t.p <= t.p_adjusted <= 1 for t in tests)


# -- one study, looked at closely --------------------------------------------------------------------------


def test_the_folder(tradeoff: Finished) -> None:
    check(tradeoff)
    content = tradeoff.content
    assert content["command"].startswith("prime-audit study tradeoff --model ")
    assert "--out" not in content["command"]
    assert [r["folder"] for r in content["runs"]] == ["runs/run"]
    assert content["spec"]["games"] == ["paper"]
    assert [v["key"] for v in content["spec"]["variants"]] == [
        "Per-Pcs",
        "α=0",
        "α=0.2",
        "α=0.6",
        "α=1",
        "α=2",
    ]


def test_the_table_is_the_papers(tradeoff: Finished) -> None:
    (table,) = tradeoff.report.tables
    assert [name for _, name in table.head] == ["R-1 ↑", "R-L ↑", "AUC", "AUC − base"]
    assert {group for group, _ in table.head} == {"LaMP-4"}
    assert [label for (label,) in table.labels] == ["Per-Pcs", "α=0", "α=0.2", "α=0.6", "α=1", "α=2"]
    record = load_run(tradeoff.path / "runs" / "run").record
    for variant, row in zip(tradeoff.study.variants, table.cells, strict=True):
        own = {r.metric: r for r in record.results if r.method == variant.method}
        assert [c.value for c in row[:3]] == [own[m].value for m in ("rouge-1", "rouge-L", "auc")]
        assert [c.ci for c in row[:3]] == [own[m].ci for m in ("rouge-1", "rouge-L", "auc")]
        (gap,) = (c for c in record.comparisons if c.method == variant.method and c.metric == "auc")
        assert (row[3].value, row[3].ci) == (gap.difference, gap.ci)
        assert not row[2].best
        assert not row[3].best  # an AUC is not ranked
    rows = list(csv.reader((tradeoff.path / "table.csv").read_text(encoding="utf-8").splitlines()))
    assert float(rows[1][2]) == table.cells[0][0].value


def test_tests_are_of_the_runs_figures(tradeoff: Finished) -> None:
    record = load_run(tradeoff.path / "runs" / "run").record
    value = {(r.method, r.metric): r for r in record.results}
    tests = tradeoff.report.tests
    assert len(tests) == 5 * 3
    for t in tests:
        one, other = (value[tradeoff.study.variant(key).method, t.metric] for key in (t.first, t.second))
        assert t.exact is (None if t.metric == "auc" else True)
        assert t.p >= 2 / 2**t.users
        if t.metric != "auc" or t.users == one.targets == other.targets:
            assert one.value is not None
            assert other.value is not None
            assert t.difference == pytest.approx(one.value - other.value, abs=1e-12)
    assert {t.game for t in tests if t.metric == "auc"} == {"paper"}
    assert any(t.metric == "auc" for t in tests)


def test_the_figure_is_the_runs_frontier(tradeoff: Finished) -> None:
    for form in ("svg", "png"):
        theirs = (tradeoff.path / "runs" / "run" / f"frontier.{form}").read_bytes()
        assert (tradeoff.path / f"figure.{form}").read_bytes() == theirs


def test_a_folder_of_another_study_is_refused(tradeoff: Finished, conduct: Conduct) -> None:
    before = (tradeoff.path / "study.json").read_bytes()
    with pytest.raises(UserError, match="holds another run"):
        conduct("tradeoff", out=tradeoff.path, seed=1)
    assert (tradeoff.path / "study.json").read_bytes() == before


# -- several runs, one cache -------------------------------------------------------------------------------


def test_runs_share_what_they_have_in_common(conduct: Conduct, monkeypatch: pytest.MonkeyPatch) -> None:
    from prime_audit.community import training

    trained: list[str] = []
    plain = training.train_adapters

    def watched(base: Any, jobs: Any, *rest: Any, **more: Any) -> Any:
        trained.extend(job.owner for job in jobs)
        return plain(base, jobs, *rest, **more)

    monkeypatch.setattr(training, "train_adapters", watched)
    done = conduct("decoding", sets=["temperature=1.0"])  # and no cache is kept
    check(done)
    assert trained == ["base"]
    runs = list(runs_of(done).values())
    assert [r.path.name for r in runs] == ["decoding-1", "decoding-2", "decoding-3"]
    answers = [[row["prediction"] for row in r.predictions()] for r in runs]
    assert answers[0] != answers[1] != answers[2]
    assert len({json.dumps(r.record.community) for r in runs}) == 1
    (table,) = done.report.tables
    own = [
        next(x.value for x in r.record.results if (x.method, x.metric) == ("rag:k=1", "rouge-1"))
        for r in runs
    ]
    values = [v for v in own if v is not None]
    mean = sum(values) / 3
    error = (sum((v - mean) ** 2 for v in values) / 2 / 3) ** 0.5
    assert table.cells[0][0].value == pytest.approx(mean)
    assert table.cells[0][0].error == pytest.approx(error)


def test_the_same_again_gives_the_same_bytes(conduct: Conduct, tmp_path: Path) -> None:
    first = conduct("profiles", cache=tmp_path / "cache")
    again = conduct("profiles", cache=None)
    check(first)
    for name in ("study.json", "table.md", "table.csv", "table.tex", "figure.svg", "figure.png"):
        assert (first.path / name).read_bytes() == (again.path / name).read_bytes(), name


def test_the_command(
    say: Callable[..., Any],
    small: Sequence[str],
    small_data: Callable[[str], Path],
    llama_folder: Path,
    tmp_path: Path,
) -> None:
    sets = [word for pair in small for word in ("--set", pair)]
    words = ("study", "profiles", "--data", small_data("LaMP-3"), "--model", llama_folder, *sets)
    said = say(*words, "--out", tmp_path / "a", "--cache", tmp_path / "cache")
    assert said.code == 0, said.err
    assert "Table 10" in said.out
    assert "Reworded" in said.out
    assert str(tmp_path / "a") in said.out.replace("\n", "")
    assert max(map(len, said.out.splitlines()[:12])) <= 100
    said = say(*words, "--out", tmp_path / "b", "--cache", tmp_path / "cache", "--json")
    assert json.loads(said.out) == json.loads((tmp_path / "a" / "study.json").read_text(encoding="utf-8"))


def test_a_study_by_chrf(conduct: Conduct) -> None:
    done = conduct("responses", metric="chrf")
    check(done)
    assert "--metric chrf" in done.content["command"]
    likeness, _ = done.report.tables
    assert [name for _, name in likeness.head] == ["chrF", "same", "chrF"]
    assert {t.metric for t in done.report.tests} == {"chrf with Top sim."}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["responses", "tradeoff"])
def test_tasks_of_one_and_of_two_metrics_share_a_table(
    small: Sequence[str], llama_folder: Path, tmp_path: Path, name: str
) -> None:
    sets = [*small, "clusters=6", "targets=3"]
    words = {"tasks": "LaMP-2,LaMP-4", "models": [str(llama_folder)], "metric": "chrf", "cache": None}
    done = study(name, overrides=sets, out=tmp_path / "study", quiet=True, **words)
    check(done)


# -- what studies need of the rest -------------------------------------------------------------------------


@pytest.mark.parametrize("task", SIMULATED)
def test_reworded_profiles_say_the_same_otherwise(say: Callable[..., Any], task: str) -> None:
    def texts(method: str) -> set[str]:
        said = say("prompts", "--task", task, "--user", "u012", "--method", method, "--json")
        fronts = [row["prompt"].partition("### User Instruction")[0] for row in json.loads(said.out)]
        return set(fronts)

    (plain,), (reworded,) = texts("pag"), texts("pag:text=reworded")
    assert plain != reworded
    assert plain.startswith("### User Profile:\n")
    assert reworded.startswith("### User Profile:\n")
    figures = {word.strip(".,;:()%") for word in plain.split() if any(c.isdigit() for c in word)}
    assert figures <= {word.strip(".,;:()%") for word in reworded.split()}
    if task == "LaMP-2":
        assert plain.rpartition(": ")[2].strip() in reworded


# -- every study -------------------------------------------------------------------------------------------


@pytest.mark.nightly
@pytest.mark.parametrize("name", [n for n in STUDIES if n not in ("tradeoff", "decoding", "profiles")])
def test_every_study_runs(conduct: Conduct, name: str) -> None:
    task = "LaMP-4" if name == "responses" else "LaMP-3"
    done = conduct(name, task=task)
    check(done)
    assert done.report.tests
    if name == "audit-games":
        heads = [head for _, head in done.report.tables[0].head]
        for labels, cells in zip(done.report.tables[0].labels, done.report.tables[0].cells, strict=True):
            if cells[0].value is not None:
                assert cells[heads.index("q")].value is not None, labels
        assert set(LEGEND) <= set(done.report.notes)  # the panel's own words


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tradeoff", "base-models"])
def test_several_models_make_a_table_each(
    conduct: Conduct, model_folder: Callable[[str], Path], name: str
) -> None:
    models = [str(model_folder(kind)) for kind in ("llama", "qwen2")]
    done = conduct(name, models=models)
    check(done)
    assert [t.title for t in done.report.tables] == [f"(a) {models[0]}", f"(b) {models[1]}"]
    assert [r["folder"] for r in done.content["runs"]] == ["runs/model-1/run", "runs/model-2/run"]
    assert {t.model for t in done.report.tests} == set(models)
    svg = (done.path / "figure.svg").read_text(encoding="utf-8")
    for letter, model in zip("ab", models, strict=True):
        assert f"LaMP-4 ({letter}) {Path(model).name}" in svg


def test_auto_may_not_mean_two_presets(llama_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    with pytest.raises(
        UserError, match=r"--preset auto means laptop for mini, small for .*; name one preset"
    ) as caught:
        study("tradeoff", models=["mini", str(llama_folder)], out=out, cache=None, quiet=True)
    assert "\n" not in str(caught.value)
    assert not out.exists()
