"""The command as its user meets it: quick, quiet about torch, every happy path, tables and JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prime_audit import load_run
from prime_audit.lamp.readers import read
from prime_audit.lamp.tasks import TASKS
from prime_audit.lamp.world.world import world

Say = Callable[..., Any]
HEAVY = "torch transformers peft nevergrad sklearn matplotlib pyarrow scipy.stats nltk"


def loaded(code: str) -> set[str]:
    """Run Python code in a fresh process; the heavy packages it has loaded."""
    tail = f"\nimport sys; print('loaded', *[m for m in {HEAVY.split()!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def command(*words: object) -> str:
    return (
        f"import sys; sys.argv = ['prime-audit', *{[str(w) for w in words]!r}]\n"
        "from prime_audit.commands.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code"
    )


# -- speed and weight --------------------------------------------------------------------------------------


def test_scoring_and_playing_load_no_more_than_they_use() -> None:
    code = (
        "import prime_audit.games.exam.play, prime_audit.prime.prime;"
        "from prime_audit.lamp.metrics import rouge; rouge('a b', 'b')"
    )
    assert loaded(code) == set()


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded("import prime_audit, prime_audit.commands.cli, prime_audit.api") == set()
    assert loaded("import prime_audit; prime_audit.compare, prime_audit.load_run, prime_audit.Run") == set()


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("compare", "--help"),
        ("list", "methods"),
        ("list", "attacks"),
        ("list", "tasks"),
        ("list", "presets"),
        ("describe", "prime"),
        ("describe", "perpcs"),
        ("describe", "loss"),
        ("describe", "settings"),
        ("prompts", "--task", "LaMP-2", "--user", "u012", "--method", "prime+pag"),
    ],
)
def test_commands_that_need_no_model_load_none(words: tuple[str, ...]) -> None:
    assert loaded(command(*words)) == set()


def test_checking_and_scoring_load_no_model(small_data: Callable[[str], Path], outputs: Path) -> None:
    assert loaded(command("data", "check", small_data("LaMP-2"))) == set()
    files = ("--golds", outputs / "golds.json", "--preds", outputs / "preds.json")
    assert "torch" not in loaded(command("score", "--task", "LaMP-2", *files))


# -- naming things -----------------------------------------------------------------------------------------


def test_no_words_is_help(say: Say) -> None:
    said = say()
    assert said.code == 2
    assert re.search(r"Commands:\n(  .*\n)*  compare ", said.out + said.err)


@pytest.mark.parametrize(
    ("what", "some"),
    [
        ("methods", {"np", "oppu", "perpcs", "prime", "soup", "ties", "core", "mta", "random"}),
        ("attacks", {"loss"}),
        ("tasks", set(TASKS)),
        ("presets", {"laptop", "paper"}),
    ],
)
def test_lists(say: Say, what: str, some: set[str]) -> None:
    rows = json.loads(say("list", what, "--json").out)
    key = next(iter(rows[0]))
    assert some <= {row[key] for row in rows}
    printed = say("list", what)
    assert printed.code == 0
    assert all(name in printed.out for name in some)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("prime", ["alpha", "optimizer", "ngiohtuned", "tbpsa", "Algorithm 1"]),
        ("rag", ["joins any other with +"]),
        ("loss", ["scores are higher for members", "needs: logprobs", "version: 1"]),
        ("ties", ["Yadav et al. 2023", "version: 1", "density", "0.2"]),
        ("dare", ["Yu et al. 2024", "elect        false"]),
        ("core", ["Panariello et al. 2025", "Iso-C", "TSV-M"]),
        ("random", ["kind: method; control: utility that random adapters give too is no merit of sharing"]),
        ("LaMP-3", ["MAE and RMSE", "labels: 1, 2, 3, 4, 5", "Review: {text} Score:"]),
        ("movie_tagging", ["LaMP-2"]),
        ("settings", ["clusters", "prime.budget", "LaMP-7"]),
    ],
)
def test_descriptions(say: Say, name: str, parts: list[str]) -> None:
    said = say("describe", name)
    assert said.code == 0
    for part in parts:
        assert part in said.out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("lst",), "list"),
        (("data", "chek"), "check"),
        (("compare", "--metods", "np"), "--methods"),
        (("describe", "prme"), "unknown name 'prme': did you mean prime"),
        (("list", "method"), "'methods'"),
        (("score",), "--golds"),
        (("prompts", "--task", "LaMP-2", "--user", "u0012", "--method", "np"), "did you mean u012"),
        (("prompts", "--task", "LaMP-2", "--user", "u012", "--method", "np,rag"), "name one method"),
        (("prompts", "--user", "u012", "--method", "np"), "name one"),
    ],
)
def test_slips_are_one_line_with_a_hint(say: Say, words: tuple[str, ...], hint: str) -> None:
    said = say(*words)
    assert said.code == 2
    assert said.err.startswith("prime-audit: ")
    assert said.err.count("\n") == 1
    assert hint in said.err


# -- score -------------------------------------------------------------------------------------------------


def write_outputs(folder: Path, task: str, golds: list[str], preds: list[str]) -> tuple[Path, Path]:
    for name, texts in (("golds", golds), ("preds", preds)):
        body = {"task": task, "golds": [{"id": str(n), "output": t} for n, t in enumerate(texts)]}
        (folder / f"{name}.json").write_text(json.dumps(body))
    return folder / "golds.json", folder / "preds.json"


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    write_outputs(tmp_path, "LaMP_2", ["comedy", "action", "classic"], ["comedy", "classic", "nonsense"])
    return tmp_path


@pytest.mark.parametrize(
    ("task", "golds", "preds", "expected"),
    [
        ("LaMP-1", ["[1]", "[2]"], ["[1]", " [2]\n"], {"accuracy": 1.0, "f1": 1.0}),
        ("LaMP-2", ["comedy", "action"], ["comedy", "Action"], {"accuracy": 0.5, "f1": 1 / 15}),
        ("LaMP-3", ["5", "2"], ["4", "none"], {"MAE": 2.0, "RMSE": 5**0.5}),
        ("LaMP-4", ["a b c", "d"], ["a x c", "d"], {"rouge-1": 5 / 6, "rouge-L": 5 / 6}),
        ("LaMP-5", ["a b", "c"], ["b a", "c"], {"rouge-1": 1.0, "rouge-L": 0.75}),
        ("LaMP-7", ["so it is"], [""], {"rouge-1": 0.0, "rouge-L": 0.0}),
    ],
)
def test_scores_have_the_official_names(
    say: Say, tmp_path: Path, task: str, golds: list[str], preds: list[str], expected: dict[str, float]
) -> None:
    g, p = write_outputs(tmp_path, TASKS[task].official, golds, preds)
    said = say("score", "--task", task, "--golds", g, "--preds", p, "--json")
    assert json.loads(said.out) == pytest.approx(expected, abs=1e-12)
    table = say("score", "--golds", g, "--preds", p).out  # the file names its task
    for name, value in expected.items():
        assert name in table
        assert f"{value:.6f}" in table


# -- data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["perpcs", "official"])
def test_the_world_written_checks_and_reads_back(say: Say, tmp_path: Path, layout: str) -> None:
    said = say("data", "world", "--task", "LaMP-3", "--out", tmp_path, "--layout", layout, "--seed", 5)
    folder = Path(said.out.strip())
    assert folder.is_dir()
    report = json.loads(say("data", "check", folder, "--task", "LaMP-3", "--json").out)
    assert report["layout"] == layout
    assert report["defects"] == []
    assert report["searchable"] is True
    shown = say("data", "check", folder)
    assert shown.code == 0
    assert "LaMP-3" in shown.out
    if layout == "perpcs":
        made, found = world("LaMP-3", seed=5), read(folder)
        assert (found.adapt, found.targets, found.candidates) == (made.adapt, made.targets, made.candidates)


def test_imported_items_run(say: Say, tmp_path: Path, small: tuple[str, ...], llama_folder: Path) -> None:
    rows = [
        {"user": u.id, "input": i.fields["text"], "output": i.fields["score"]}
        for u in world("LaMP-3", users=14, adapt=2, targets=2, history=(8, 8)).candidates
        for i in u.history
    ]
    file = tmp_path / "reviews.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    asked = ("--task", "LaMP-3", "--out", tmp_path / "product_rating", "--seed", 1, "--targets", 2)
    said = say("data", "import", file, *asked, "--adapt-share", 0.1)
    assert said.code == 0, said.err
    imported = read(tmp_path / "product_rating")
    direct = read(file, "LaMP-3", seed=1, targets=2, adapt_share=0.1)
    assert len(imported.targets) == 2
    assert imported.sha256 == direct.sha256
    assert imported.split_sha256 == direct.split_sha256
    sets = [word for pair in small for word in ("--set", pair)]
    done = say(
        *(
            "compare",
            "--methods",
            "prime+rag,prime+rag:k=1",
            "--data",
            tmp_path / "product_rating",
            "--model",
            llama_folder,
        ),
        *("--out", tmp_path / "run", "--cache", tmp_path / "cache", *sets, "--set", "targets=1", "--json"),
    )
    assert done.code == 0, done.err
    assert "note: --methods: prime+rag:k=1 is the same as prime+rag; it runs once\n" in done.err
    record = json.loads(done.out)
    assert record["data"][0]["sha256"] == imported.sha256
    assert record["data"][0]["users"]["targets"] == 2
    # Settings without effect come first: before anything is computed, and in the record.
    (vain,) = (line for line in done.err.splitlines() if "targets=1 has no effect" in line)
    assert done.err.index(vain) < done.err.index("load model")
    assert record["warnings"][0] == vain.removeprefix("note: ")
    assert (tmp_path / "cache").is_dir()
    # The run is printed again by show, from its folder alone.
    shown = say("show", tmp_path / "run", "--json")
    assert json.loads(shown.out) == record
    table = say("show", tmp_path / "run")
    assert "prime+rag" in table.out
    assert "LaMP-3" in table.out
    assert loaded(command("show", tmp_path / "run")) <= {"sklearn"}
    assert json.loads(json.dumps(load_run(tmp_path / "run").record.to_json())) == record


# -- merge -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def adapters(llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three random adapters as PEFT itself saves them, of unlike rank and alpha but for the first two."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    root, made = tmp_path_factory.mktemp("adapters"), []
    for number, (rank, alpha) in enumerate([(4, 8), (4, 8), (2, 6)]):
        torch.manual_seed(number)
        model = AutoModelForCausalLM.from_pretrained(llama_folder)
        config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
            init_lora_weights=False,
            task_type="CAUSAL_LM",
        )
        get_peft_model(model, config).save_pretrained(root / str(number))
        made.append(root / str(number))
    return made


def deltas(llama_folder: Path, adapter: Path) -> dict[str, np.ndarray]:
    """Ask PEFT itself what it adds to each weight, by module."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama_folder), adapter)
    return {
        name.removeprefix("base_model.model."): module.get_delta_weight("default").detach().double().numpy()
        for name, module in model.named_modules()
        if hasattr(module, "get_delta_weight")
    }


def test_merge_by_the_delta_rule_is_the_weighted_sum(
    say: Say, adapters: list[Path], llama_folder: Path, tmp_path: Path
) -> None:
    said = say("merge", *adapters, "--weights", "-0.5,0.3,1.25", "--out", tmp_path / "soup")
    assert said.code == 0, said.err
    assert "3 adapters merged by the delta rule, rank 10" in said.out
    parts, soup = [deltas(llama_folder, a) for a in adapters], deltas(llama_folder, tmp_path / "soup")
    assert len(soup) == 12
    for name, delta in soup.items():
        total = -0.5 * parts[0][name] + 0.3 * parts[1][name] + 1.25 * parts[2][name]
        np.testing.assert_allclose(delta, total, atol=1e-5)


def test_merge_with_weights_by_layer(
    say: Say, adapters: list[Path], llama_folder: Path, tmp_path: Path
) -> None:
    table = [[1.0, 0.0, 0.5], [0.0, -1.0, 0.0], [0.2, 0.4, 0.6]]
    (tmp_path / "weights.json").write_text(json.dumps(table))
    said = say("merge", *adapters, "--weights", tmp_path / "weights.json", "--out", tmp_path / "soup")
    assert said.code == 0, said.err
    parts, soup = [deltas(llama_folder, a) for a in adapters], deltas(llama_folder, tmp_path / "soup")
    for name, delta in soup.items():
        row = table[int(name.split(".")[2])]
        np.testing.assert_allclose(
            delta, sum(w * p[name] for w, p in zip(row, parts, strict=True)), atol=1e-5
        )


def test_merge_by_the_factor_rule_sums_the_factors(
    say: Say, adapters: list[Path], llama_folder: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file

    weights = (0.7, -0.4)
    said = say(
        "merge", *adapters[:2], "--weights", "0.7,-0.4", "--rule", "factor", "--out", tmp_path / "soup"
    )
    assert said.code == 0, said.err
    files = [load_file(a / "adapter_model.safetensors") for a in adapters[:2]]
    for name, delta in deltas(llama_folder, tmp_path / "soup").items():
        key = f"base_model.model.{name}"
        a, b = (
            sum(w * f[f"{key}.lora_{side}.weight"] for w, f in zip(weights, files, strict=True))
            for side in "AB"
        )
        np.testing.assert_allclose(delta, (b @ a) * 8 / 4, atol=1e-5)


@pytest.mark.parametrize(
    ("count", "words", "message"),
    [
        (2, ("--weights", "0.5"), "2 adapters need 2 finite numbers"),
        (2, ("--weights", "0.5,nan"), "pass numbers such as 0.5,0.3"),
        (2, ("--weights", "0.5,NaN"), "2 adapters need 2 finite numbers"),
        (2, ("--weights", "a,b"), "pass numbers such as 0.5,0.3"),
        (2, ("--weights", "none.json"), "--weights none.json: cannot be read"),
        (3, ("--weights", "1,1,1", "--rule", "factor"), "equal rank and alpha; use --rule delta"),
        (1, ("--weights", "1", "--rule", "sum"), "'sum' is not one of 'delta', 'factor'"),
    ],
)
def test_merges_that_cannot_be(
    say: Say, adapters: list[Path], tmp_path: Path, count: int, words: tuple[str, ...], message: str
) -> None:
    said = say("merge", *adapters[:count], *words, "--out", tmp_path / "soup")
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert message in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["disk", "safetensors"])
def test_a_merge_that_cannot_be_saved_leaves_nothing(
    say: Say, adapters: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from safetensors import SafetensorError

    from prime_audit.engine import merge

    def fail(*_: object, **__: object) -> None:
        raise (
            OSError(28, "No space left on device")
            if kind == "disk"
            else SafetensorError("No space\nleft (28)")
        )

    monkeypatch.setattr(merge, "save_adapter", fail)
    said = say("merge", *adapters[:2], "--weights", "1,0", "--out", tmp_path / "soup")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "cannot be written (No space left" in said.err
    assert "Traceback" not in said.err
    assert list(tmp_path.iterdir()) == []


def test_merge_overwrites_nothing_and_names_what_is_no_adapter(
    say: Say, adapters: list[Path], llama_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "soup").mkdir()
    said = say("merge", adapters[0], "--weights", "1", "--out", tmp_path / "soup")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "exists already" in said.err
    said = say("merge", llama_folder, "--weights", "1", "--out", tmp_path / "new")
    assert f"{llama_folder}: no adapter_config.json" in said.err
    assert not (tmp_path / "new").exists()
