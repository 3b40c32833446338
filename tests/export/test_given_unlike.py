"""Runs with sharers whose adapters differ in modules, layers, ranks and names, or change nothing; and their exports."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from prime_audit import Run
from prime_audit.errors import UserError
from prime_audit.export.export import export
from prime_audit.folder import load_run
from prime_audit.runs.rescore import attack
from tests.adapters import change

Go = Callable[..., Run]
PAIRS = [("The council met.", "council"), ("Rain again.", "rain")]


def zero(folder: Path) -> None:
    change(folder, lambda t: {k: v * 0 if "lora_B" in k else v for k, v in t.items()})


def models(run: Run, method: str) -> dict[str, Any]:
    rows = [json.loads(line) for line in (run.path / "models.jsonl").read_text().splitlines()]
    return {row["target"]: row for row in rows if row["method"] == method and "game" not in row}


@pytest.fixture
def unlike(given: Path, plain: Any) -> Path:
    """Four sharers of which no two adapters have one shape; one is saved without PEFT's prefix."""
    for name, shape in (
        ("ann", {"target_modules": ["q_proj", "v_proj"], "r": 3}),
        ("bea", {"layers_to_transform": [1], "rank_pattern": {"q_proj": 4}, "alpha_pattern": {"k_proj": 1}}),
        ("cem", {"target_modules": ["down_proj", "o_proj"], "use_rslora": True}),
    ):
        plain.train(given / name, PAIRS, **shape)
    change(given / "dot", lambda t: {k.removeprefix("base_model.model."): v for k, v in t.items()})
    return given


def update(plain: Any, folder: Path, prefix: str) -> dict[str, torch.Tensor]:
    """By hand: alpha, rank and patterns of the fixture, without our reader."""
    config, tensors = (
        json.loads((folder / "adapter_config.json").read_text()),
        load_file(folder / "adapter_model.safetensors"),
    )
    found = {}
    for key in (k for k in tensors if ".lora_A." in k):
        site, a, b = (
            key.removeprefix(prefix).removesuffix(".lora_A.weight"),
            tensors[key],
            tensors[key.replace("_A.", "_B.")],
        )
        alpha = next(
            (v for k, v in (config["alpha_pattern"] or {}).items() if site.endswith(k)), config["lora_alpha"]
        )
        found[site] = alpha / (len(a) ** 0.5 if config["use_rslora"] else len(a)) * b @ a
    return found


def merged(plain: Any, given: Path, names: list[str], weight: float) -> Any:
    model = plain.model()
    for name in names:
        for site, delta in update(plain, given / name, "" if name == "dot" else "base_model.model.").items():
            model.get_submodule(site).weight.data += weight * delta
    return model


@pytest.mark.slow
def test_unlike_adapters_are_merged_and_exported_exactly(
    quick: Go, unlike: Path, plain: Any, asked_of: Callable[..., Any], tmp_path: Path
) -> None:
    run = quick("nearest,soup:k=2,perpcs", sharers=unlike, cache=tmp_path / "cache")
    sites = run.record.community["LaMP-4"]["sites"]
    assert len(sites) == 15  # q, k, v, o and down in three layers
    for method, k in (("nearest", 1), ("soup:k=2", 2)):
        for target, row in models(run, method).items():
            asked = asked_of(run, method, target)
            assert plain.gap(merged(plain, unlike, row["sharers"], 1 / k), asked) < 1e-4
    for method in ("nearest", "soup:k=2", "perpcs"):
        for target in [*models(run, method)][:2]:
            out = tmp_path / f"{method.partition(':')[0]}.{target}"
            export(run.path, target, method, out, cache=tmp_path / "cache", sharers=unlike)
            assert plain.gap(plain.with_adapter(out), asked_of(run, method, target)) < 1e-4, (method, target)
            keys = load_file(out / "adapter_model.safetensors")
            assert {k.split(".lora_")[0].removeprefix("base_model.model.") for k in keys} <= set(sites)
    warned = [line for line in run.record.warnings if "name tensors in another way" in line]
    assert len(warned) == 1


@pytest.mark.slow
def test_own_adapters_use_the_modules_of_the_given_ones(
    quick: Go, given: Path, plain: Any, tmp_path: Path
) -> None:
    for name in ("ann", "bea", "cem", "dot"):
        plain.train(given / name, PAIRS, target_modules=["q_proj", "v_proj"])
    run = quick("oppu,nearest", sharers=given, cache=tmp_path / "cache")
    target = next(iter(models(run, "oppu")))
    export(run.path, target, "oppu", tmp_path / "out", cache=tmp_path / "cache", sharers=given)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["target_modules"] == ["q_proj", "v_proj"]
    again = attack(run.path, "minkpp", cache=tmp_path / "cache", sharers=given, quiet=True)
    assert len(again.record.leaks) > 0
    assert any("this run adapts q_proj, v_proj, as the given adapters do" in w for w in run.record.warnings)


def test_modules_that_are_set_must_hold_the_given_ones(quick: Go, given: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"adapts k_proj, but --set lora\.modules=q_proj leaves it out; remove"
    ):
        quick("nearest", sharers=given, sets=["lora.modules=q_proj"])
    assert not (tmp_path / "run").exists()


def test_a_module_that_the_model_lacks_is_one_line(quick: Go, given: Path, tmp_path: Path) -> None:
    change(given / "ann", lambda t: {k.replace("k_proj", "qkv_proj"): v for k, v in t.items()})
    config = given / "ann" / "adapter_config.json"
    config.write_text(config.read_text().replace("k_proj", "qkv_proj"))
    with pytest.raises(UserError, match=r"--sharers: the adapters adapt .*: no Linear layer named qkv_proj"):
        quick("nearest", sharers=given)
    assert not (tmp_path / "run").exists()


def test_what_adapts_a_vision_tower_is_exported_without_it(quick: Go, given: Path, tmp_path: Path) -> None:
    for folder in given.iterdir():
        change(
            folder, lambda t: t | {k.replace("model.layers", "vision_tower.layers"): v for k, v in t.items()}
        )
    run = quick("nearest", sharers=given, cache=tmp_path / "cache")
    target, row = next(iter(models(run, "nearest").items()))
    export(run.path, target, "nearest", tmp_path / "out", cache=tmp_path / "cache", sharers=given)
    found, whole = (
        load_file(f / "adapter_model.safetensors") for f in (tmp_path / "out", given / row["sharers"][0])
    )
    assert found.keys() == {key for key in whole if "vision" not in key}


def test_adapters_that_change_nothing_are_named(quick: Go, given: Path, tmp_path: Path) -> None:
    assert not any("change nothing" in line for line in quick("nearest", sharers=given).record.warnings)
    for name in ("ann", "bea", "cem", "dot"):
        zero(given / name)
    config = given / "dot" / "adapter_config.json"
    change(given / "dot", lambda t: {k: v + 1 for k, v in t.items()})
    config.write_text(json.dumps(json.loads(config.read_text()) | {"lora_alpha": 0}))
    options = {"out": tmp_path / "idle", "cache": tmp_path / "cache", "base_adapter": given / "ann"}
    run = quick("np,nearest,soup:k=2", sharers=given, **options)
    assert sum("the base adapter changes nothing" in w for w in run.record.warnings) == 1
    (line,) = (w for w in run.record.warnings if "sharers change nothing" in w)
    assert "the adapters of 4 of 4 sharers" in line
    ids = line.partition("; ids: ")[2].split(", ")
    assert sorted(ids) == ["ann", "bea", "cem", "dot"]
    (same,) = (w for w in run.record.warnings if "personalised models equal the base" in w)
    assert "6 of 6" in same
    assert "(nearest, soup:k=2)" in same
    for name in ("table.md", "index.html"):
        assert "sharers change nothing" in (run.path / name).read_text(encoding="utf-8")
    target = next(iter(models(run, "nearest")))
    folders = {"cache": tmp_path / "cache", "sharers": given, "base_adapter": given / "ann"}
    export(run.path, target, "nearest", tmp_path / "out", **folders)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "sharers change nothing" in card
    assert not any(f"ids: {name}" in card for name in ids)  # a card names no sharer


def test_one_that_changes_nothing_among_others(quick: Go, given: Path) -> None:
    zero(given / "bea")
    run = quick("soup:k=2", sharers=given)
    (line,) = (w for w in run.record.warnings if "change nothing" in w)
    assert line.endswith("; ids: bea")


def test_copies_are_named(quick: Go, given: Path) -> None:
    shutil.copy(given / "ann" / "adapter_model.safetensors", given / "bea")
    run = quick("nearest", sharers=given)
    (line,) = (w for w in run.record.warnings if "exact copies" in w)
    assert line.endswith("; ids: ann, bea")
    assert load_run(run.path).record.warnings == run.record.warnings
