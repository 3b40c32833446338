"""``prime-audit merge`` of adapters that differ in layers, modules, ranks, patterns, names and bases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

WIDE = ["q_proj", "k_proj", "v_proj", "o_proj"]
SHAPES: tuple[dict[str, Any], ...] = (
    {"target_modules": WIDE, "layers_to_transform": [1]},
    {"target_modules": ["q_proj", "down_proj"], "r": 3, "use_rslora": True},
    {
        "target_modules": WIDE,
        "rank_pattern": {"q_proj": 4},
        "alpha_pattern": {"layers.0.self_attn.k_proj": 9},
    },
)
WEIGHTS = (0.5, -0.25, 1.5)


@pytest.fixture
def unlike(llama_folder: Path, tmp_path: Path) -> list[Path]:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folders = []
    for number, shape in enumerate(SHAPES):
        torch.manual_seed(number)
        config = {"r": 2, "lora_alpha": 4, "task_type": "CAUSAL_LM", "init_lora_weights": False} | shape
        model = AutoModelForCausalLM.from_pretrained(llama_folder)
        folders.append(tmp_path / "in" / str(number))
        get_peft_model(model, LoraConfig(**config)).save_pretrained(folders[-1])
    return folders


def updates(llama_folder: Path, adapter: Path) -> dict[str, np.ndarray]:
    """Ask PEFT what an adapter adds to each weight."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama_folder), adapter)
    return {
        name: module.get_delta_weight("default").detach().double().numpy()
        for name, module in model.named_modules()
        if hasattr(module, "get_delta_weight")
    }


def require_sum(
    made: dict[str, np.ndarray], parts: list[dict[str, np.ndarray]], weights: Callable[[str], Any]
) -> None:
    assert made.keys() == set().union(*parts)
    for name, delta in made.items():
        total = sum(w * part.get(name, 0.0) for w, part in zip(weights(name), parts, strict=True))
        np.testing.assert_allclose(delta, total, atol=1e-5)


def test_what_an_adapter_lacks_is_a_zero_update(
    say: Callable[..., Any], unlike: list[Path], llama_folder: Path, tmp_path: Path
) -> None:
    parts = [updates(llama_folder, folder) for folder in unlike]
    path = unlike[2] / "adapter_model.safetensors"  # saved without PEFT's prefix, of which PEFT reads nothing
    save_file(
        {k.removeprefix("base_model.model."): v for k, v in load_file(path).items()}, path, {"format": "pt"}
    )
    said = say("merge", *unlike, "--weights", ",".join(map(str, WEIGHTS)), "--out", tmp_path / "out")
    assert said.code == 0, said.err
    assert "lack some of the 15 modules, which count as zero updates: 0, 1, 2\n" in said.err
    require_sum(updates(llama_folder, tmp_path / "out"), parts, lambda name: WEIGHTS)


def test_weights_by_layer_count_the_models_layers(
    say: Callable[..., Any], unlike: list[Path], llama_folder: Path, tmp_path: Path
) -> None:
    table = [[1.0, 0.5], [0.0, -1.0], [0.2, 0.4]]
    (tmp_path / "w.json").write_text(json.dumps(table[:2]))
    said = say("merge", *unlike[:2], "--weights", tmp_path / "w.json", "--out", tmp_path / "out")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "2 rows, but the adapters reach decoder layer 2, counted from 0" in said.err
    (tmp_path / "w.json").write_text(json.dumps([*table, [9.0, 9.0]]))
    said = say("merge", *unlike[:2], "--weights", tmp_path / "w.json", "--out", tmp_path / "more")
    assert said.code == 0, said.err
    assert "rows of --weights after the first 3 have no effect" in said.err
    (tmp_path / "w.json").write_text(json.dumps(table))
    said = say("merge", *unlike[:2], "--weights", tmp_path / "w.json", "--out", tmp_path / "out")
    assert said.code == 0, said.err
    parts = [updates(llama_folder, folder) for folder in unlike[:2]]
    layer = lambda name: table[int(name.split(".layers.")[1].split(".")[0])]  # noqa: E731
    for out in ("out", "more"):
        require_sum(updates(llama_folder, tmp_path / out), parts, layer)


def test_other_bases_and_idle_adapters_are_said(
    say: Callable[..., Any], unlike: list[Path], tmp_path: Path
) -> None:
    said = say("merge", unlike[0], unlike[0], "--weights", "1,1", "--out", tmp_path / "same")
    assert (said.code, said.err) == (0, "")
    config = unlike[1] / "adapter_config.json"
    changes = {"base_model_name_or_path": "acme/other", "lora_alpha": 0}
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    said = say("merge", *unlike[:2], "--weights", "1,1", "--out", tmp_path / "out")
    assert said.code == 0
    assert "the adapters name different base models: " in said.err
    assert "but acme/other (1)" in said.err
    assert "change nothing (a factor or lora_alpha is zero): 1\n" in said.err


def test_other_widths_are_one_line(say: Callable[..., Any], unlike: list[Path], tmp_path: Path) -> None:
    path = unlike[1] / "adapter_model.safetensors"
    save_file({k: torch.cat([v, v], 1) if "lora_A" in k else v for k, v in load_file(path).items()}, path)
    said = say("merge", *unlike[:2], "--weights", "1,1", "--out", tmp_path / "out")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "the adapters are for different layers or models (model.layers.1.self_attn.q_proj is" in said.err
    assert not (tmp_path / "out").exists()
