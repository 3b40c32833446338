"""``export``: plain PEFT on the original base says with the exported module what the suite's model said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from prime_audit import Run, load_run
from prime_audit.errors import UserError
from prime_audit.export.export import export
from prime_audit.games.exam.stored import UNMERGED
from prime_audit.io.markup import markdown_text

TASK = "LaMP-4"
METHODS = (
    "prime,prime:merge=factor,granularity=layer,perpcs,oppu,ties,prime:trim=dare+rag,rag,core,core:variant=tsv,"
    "mta:rank=1,random,random:of=core,random:of=mta"
)


@pytest.fixture(scope="session")
def done(
    small_data: Any, small: Any, llama_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, Path]:
    """One run of all, with its cache."""
    from prime_audit import compare

    home = tmp_path_factory.mktemp("exported")
    run = compare(
        METHODS,
        tasks=TASK,
        data=str(small_data(TASK)),
        model=str(llama_folder),
        overrides=list(small),
        games="paper,heldout,target",
        out=home / "run",
        cache=home / "cache",
        quiet=True,
    )
    return run, home / "cache"


@pytest.fixture
def copied(done: tuple[Run, Path], tmp_path: Path) -> tuple[Run, Path]:
    """Copy both, to be spoilt."""
    run, cache = done
    return load_run(shutil.copytree(run.path, tmp_path / "copy")), Path(
        shutil.copytree(cache, tmp_path / "cache")
    )


def targets(run: Run) -> list[str]:
    rows = [json.loads(line) for line in (run.path / "models.jsonl").read_text().splitlines()]
    return list(dict.fromkeys(row["target"] for row in rows))


CORES = {
    "prime": ("modules", 2 + 2 * 2),  # the base's adaptation beside two sharers, rank 2 each
    "prime:granularity=layer,merge=factor": ("modules", 2 + 2),
    "perpcs": ("modules", 2 + 2),
    "oppu": ("target", 2 + 2),
    "ties": ("modules", 2 + 2 * 2),
    "core": ("modules", 2 + 2 * 2),
    "core:variant=tsv": ("modules", 2 + 2 * 2),
    "mta:rank=1": ("modules", 2 + 3 * 2),
    "random": ("modules", 2 + 2 * 2),
    "random:of=core": ("modules", 2 + 2 * 2),
    "random:of=mta": ("modules", 2 + 3 * 2),
}


@pytest.mark.parametrize("core", CORES)
def test_it_says_in_peft_what_the_suite_said(
    done: tuple[Run, Path], core: str, plain: Any, asked_of: Callable[..., Any], tmp_path: Path
) -> None:
    run, cache = done
    kind, rank = CORES[core]
    for n, target in enumerate(targets(run)[:2]):
        made = export(run.path, target, core, tmp_path / str(n), cache=cache)
        assert made.rank <= rank  # an adapter of weight zero everywhere is left out
        asked = asked_of(run, core, target, kind)
        module = plain.with_adapter(tmp_path / str(n))
        assert plain.gap(module, asked) < 1e-4
        assert plain.gap(plain.model(), asked) > 1e-2
        assert sorted(p.name for p in (tmp_path / str(n)).iterdir()) == [
            "README.md",
            "adapter_config.json",
            "adapter_model.safetensors",
        ]


def test_the_adapted_base_alone_and_fronts(
    done: tuple[Run, Path], plain: Any, asked_of: Callable[..., Any], tmp_path: Path
) -> None:
    run, cache = done
    target = targets(run)[0]
    export(run.path, target, "rag", tmp_path / "rag", cache=cache)
    base = asked_of(run, None, UNMERGED, "base")
    assert plain.gap(plain.with_adapter(tmp_path / "rag"), base) < 1e-4
    assert plain.gap(plain.model(), base) > 1e-2  # the adaptation is in it
    card = (tmp_path / "rag" / "README.md").read_text(encoding="utf-8")
    assert "Text before prompts" in card
    export(run.path, target, "prime:trim=dare+rag", tmp_path / "dare", cache=cache)
    asked = asked_of(run, "prime:trim=dare", target)
    assert plain.gap(plain.with_adapter(tmp_path / "dare"), asked) < 1e-4
    card = (tmp_path / "dare" / "README.md").read_text(encoding="utf-8")
    assert "Text before prompts" in card
    assert "rag.k = 1" in card


def test_given_adapters_are_found_checked_and_exported(
    quick: Callable[..., Run], given: Path, plain: Any, asked_of: Callable[..., Any], tmp_path: Path
) -> None:
    base = plain.train(tmp_path / "adapted", [("The council met.", "council")])
    plain.train(given / "bea", [("The council met.", "council")], r=3, lora_alpha=5)  # unlike the others
    run = quick("prime,perpcs", sharers=given, base_adapter=base, cache=tmp_path / "cache")
    target = targets(run)[0]
    where = {"cache": tmp_path / "cache", "sharers": given, "base_adapter": base}
    for core in ("prime", "perpcs"):
        export(run.path, target, core, tmp_path / core, **where)
        assert plain.gap(plain.with_adapter(tmp_path / core), asked_of(run, core, target)) < 1e-4
    with pytest.raises(UserError, match="pass its folder with --sharers DIR"):
        export(run.path, target, "perpcs", tmp_path / "no", cache=tmp_path / "cache", base_adapter=base)
    for folder in given.iterdir():
        (folder / "adapter_config.json").write_text(
            (folder / "adapter_config.json").read_text().replace('"lora_dropout": 0.0', '"lora_dropout": 0.1')
        )
    with pytest.raises(UserError, match="its hash differs"):
        export(run.path, target, "prime", tmp_path / "no", **where)
    assert not (tmp_path / "no").exists()


# -- the card ------------------------------------------------------------------------------------------------


def test_the_card_tells_method_weights_figures_and_audit(done: tuple[Run, Path], tmp_path: Path) -> None:
    run, cache = done
    target = targets(run)[0]
    export(run.path, target, "prime", tmp_path / "m", cache=cache)
    card = (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    assert "library_name: peft" in card
    result = next(r for r in run.record.results if (r.method, r.metric) == ("prime", "rouge-1"))
    assert f"{result.value:.3f}" in card
    leak = next(x for x in run.record.leaks if (x.method, x.game) == ("prime", "paper"))
    assert f"{leak.auc:.3f}" in card
    assert leak.verdict in card
    assert markdown_text(leak.why) in card
    for part in ("bag of words", "length only", "similarity only", "unmerged base"):
        assert part in card
    row = next(
        json.loads(line)
        for line in (run.path / "models.jsonl").read_text().splitlines()
        if json.loads(line)["method"] == "prime" and json.loads(line)["target"] == target
    )
    for weight in row["weights"]:
        assert f"{weight:+.3f}".replace("-", "−") in card or f"{abs(weight):.3f}" == "0.000"
    assert not any(s["user"] in card for s in run.record.community[TASK]["sharers"])  # numbered, not named
    assert run.record.versions["torch"] in card
    again = export(run.path, target, "prime", tmp_path / "n", cache=cache).path
    for file in again.iterdir():
        assert file.read_bytes() == (tmp_path / "m" / file.name).read_bytes()


def test_the_hub_reads_the_cards_results_and_the_leaderboards_entry(
    done: tuple[Run, Path], say: Callable[..., Any], tmp_path: Path
) -> None:
    run, cache = done
    words = ("export", run.path, "--cache", cache, "--target", targets(run)[0], "--method", "prime")
    said = say(*words, "--benchmark", "org/lamp:headlines", "--out", tmp_path / "m")
    assert said.code == 0, said.err
    data = ModelCard.load(tmp_path / "m" / "README.md").data
    assert (data.library_name, data.model_name) == ("peft", f"prime, {TASK}")
    own = [r for r in run.record.results if r.method == "prime" and r.game is None]
    assert [r.metric_value for r in data.eval_results] == [r.value for r in own]
    for shown, r in zip(data.eval_results, own, strict=True):
        assert (shown.task_name, shown.metric_type) == (TASK, "rouge")
        assert f"{r.metric} of the method prime, {r.n} questions of {r.targets} targets" in shown.metric_name
        assert run.record.data[0].sha256[:12] in shown.dataset_name
    (entry,) = parse_eval_result_entries(
        yaml.safe_load((tmp_path / "m" / ".eval_results" / "prime-audit.yaml").read_text(encoding="utf-8"))
    )
    assert (entry.dataset_id, entry.task_id, entry.value) == ("org/lamp", "headlines", own[0].value)
    assert "of the method prime" in str(entry.notes)
    for more, says in (
        (("--benchmark", "lamp"), "OWNER/NAME:TASK"),
        (("--benchmark", "org/lamp:x", "--without", "u1"), "was not measured"),
    ):
        said = say(*words, *more, "--out", tmp_path / "no")
        assert (said.code, len(said.err.splitlines())) == (2, 1)
        assert says in said.err
    assert not (tmp_path / "no").exists()


def test_strange_ids_do_not_break_out_of_the_card(copied: tuple[Run, Path], tmp_path: Path) -> None:
    run, cache = copied
    old, strange = targets(run)[0], "<script>alert(1)</script>|`x`\n# h\n../../up"
    rows = [json.loads(line) for line in (run.path / "models.jsonl").read_text().splitlines()]
    for row in rows:
        row["target"] = strange if row["target"] == old else row["target"]
    (run.path / "models.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    export(run.path, strange, "prime", tmp_path / "out", cache=cache)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "<script" not in card
    assert "\n# h" not in card
    assert sum(line.startswith("# ") for line in card.splitlines()) == 1


def test_ids_with_every_end_of_a_line_are_exported(copied: tuple[Run, Path], tmp_path: Path) -> None:
    run, cache = copied
    old, strange = targets(run)[0], "a\u2028b\x85c\x0bd"
    text = (run.path / "models.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.split("\n") if line]
    for row in rows:
        row["target"] = strange if row["target"] == old else row["target"]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)  # as a run writes them
    (run.path / "models.jsonl").write_text(text, encoding="utf-8")
    export(run.path, strange, "prime", tmp_path / "out", cache=cache)
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("weights", [[[1], [1, 2]], ["a"], [1.0] * 9, 3, [[[1.0, 1.0]]], None, [10**400, 1]])
def test_weights_that_are_no_table_are_one_line(
    copied: tuple[Run, Path], tmp_path: Path, weights: Any
) -> None:
    run, cache = copied
    rows = [json.loads(line) for line in (run.path / "models.jsonl").read_text().splitlines()]
    (run.path / "models.jsonl").write_text(
        "".join(json.dumps(row | {"weights": weights}) + "\n" for row in rows)
    )
    with pytest.raises(UserError) as caught:
        export(run.path, rows[0]["target"], "prime", tmp_path / "out", cache=cache)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("key", "value"), [("adaptation", True), ("sharers", [{}]), ("adapters", {"x": 1}), ("modules", [[1]])]
)
def test_a_community_that_no_run_writes_is_one_line(
    copied: tuple[Run, Path], tmp_path: Path, key: str, value: Any
) -> None:
    run, cache = copied
    record = json.loads((run.path / "record.json").read_text())
    record["community"][TASK][key] = value
    (run.path / "record.json").write_text(json.dumps(record))
    with pytest.raises(UserError) as caught:
        export(run.path, targets(run)[0], "prime", tmp_path / "out", cache=cache)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


# -- what cannot be ------------------------------------------------------------------------------------------


def test_what_was_pruned_or_spoilt_is_said(copied: tuple[Run, Path], tmp_path: Path) -> None:
    run, cache = copied
    target = targets(run)[0]
    place = cache / run.record.community[TASK]["adaptation"]["place"]
    weights = place / "adapter_model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-3] ^= 1
    weights.write_bytes(bytes(raw))
    with pytest.raises(UserError, match="is not what the run used"):
        export(run.path, target, "prime", tmp_path / "out", cache=cache)
    raw[-3] ^= 1
    weights.write_bytes(bytes(raw))
    config = place / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"lora_alpha": 32}))
    with pytest.raises(UserError, match="is not what the run used"):
        export(run.path, target, "prime", tmp_path / "out", cache=cache)
    shutil.rmtree(place)
    with pytest.raises(UserError, match="rerun compare with the same options: prime-audit compare") as caught:
        export(run.path, target, "prime", tmp_path / "out", cache=cache)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_place_outside_the_cache_is_no_place(copied: tuple[Run, Path], tmp_path: Path) -> None:
    run, cache = copied
    record = json.loads((run.path / "record.json").read_text())
    record["community"][TASK]["adaptation"]["place"] = "../../../etc"
    (run.path / "record.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="its record has no path"):
        export(run.path, targets(run)[0], "prime", tmp_path / "out", cache=cache)


def test_what_failed_in_the_run_has_no_module(quick: Callable[..., Run], tmp_path: Path) -> None:
    plugin = tmp_path / "broken.py"
    plugin.write_text(
        '"""Broken: raises."""\n\nfrom prime_audit.plugins import method\n\n\n@method(source="ours")\n'
        'def personalise(scene):\n    """Raise."""\n    raise RuntimeError("no luck")\n'
    )
    run = quick("broken+rag,rag", plugins=[plugin], cache=tmp_path / "cache")
    target = targets(run)[0]
    with pytest.raises(UserError, match=r"this model failed: .*no luck"):
        export(run.path, target, "broken+rag", tmp_path / "out", cache=tmp_path / "cache")
    export(run.path, target, "rag", tmp_path / "out", cache=tmp_path / "cache")


def test_names_are_checked(done: tuple[Run, Path], say: Callable[..., Any], tmp_path: Path) -> None:
    run, cache = done
    target = targets(run)[0]
    words = ("export", run.path, "--cache", cache, "--out", tmp_path / "out")
    for more, says in (
        (("--target", target), "several methods: pass --method"),
        (("--target", target, "--method", "primm"), "did you mean"),
        (("--target", target + "x", "--method", "prime"), f"did you mean {target}"),
        (("--target", target, "--method", "prime", "--task", "LaMP-2"), "unknown task of"),
        (("--target", target, "--method", "prime", "--no-cache"), "the adapters come from the cache"),
    ):
        said = say(*words, *more)
        assert said.code == 2
        assert says in said.err, said.err
        assert len(said.err.splitlines()) == 1
    good = say(*words, "--target", target, "--method", "prime")
    assert good.code == 0, good.err
    assert "README.md says how to load it" in good.out
    said = say(*words, "--target", target, "--method", "prime")
    assert said.code == 2  # nothing is overwritten


def test_a_failed_write_leaves_nothing(
    done: tuple[Run, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, cache = done

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UserError, match="No space left on device"):
        export(run.path, targets(run)[0], "prime", tmp_path / "deep" / "out", cache=cache)
    assert not list((tmp_path / "deep").glob("*"))
