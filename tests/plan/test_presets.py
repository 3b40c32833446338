"""``--preset auto``: the preset by the model's size, which its files tell without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from prime_audit.engine.size import weights
from prime_audit.plan.config import config_text
from prime_audit.plan.plan import make_plan
from prime_audit.plan.presets import SMALL, resolved


def folder_of(parent: Path, config: dict[str, Any], shapes: dict[str, list[int]] | None = None) -> str:
    """Write a folder with a configuration and, with ``shapes``, a safetensors file that has a header and no weights."""
    parent.mkdir()
    (parent / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if shapes is not None:
        entries = {
            name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()
        }
        header = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
        (parent / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return str(parent)


def test_weights_are_those_that_the_headers_list(tmp_path: Path) -> None:
    listed = {"a.weight": [1000, 2000], "b.weight": [3, 4, 5], "scale": []}
    assert weights(folder_of(tmp_path / "m", {"model_type": "llama"}, listed)) == 2_000_061


def test_a_models_own_count_is_its_weights(llama_folder: Path) -> None:
    from prime_audit.engine.load import load_base

    place = str(llama_folder)
    listed = weights(place)
    assert listed is not None
    assert listed >= load_base(place, targets=("q_proj",)).parameters()


def test_without_weights_the_configuration_tells(tmp_path: Path) -> None:
    sizes = {"hidden_size": 576, "num_hidden_layers": 30, "vocab_size": 49152}
    found = weights(folder_of(tmp_path / "m", sizes))
    assert found == 12 * 30 * 576**2 + 49152 * 576  # 148 million; SmolLM2 has 135
    assert weights(folder_of(tmp_path / "n", {"text_config": sizes})) == found


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 9, b"\x05" + bytes(7) + b"[1,2]", b"\x0e" + bytes(7) + b'{"a":{"b": 1}}']
)
def test_damaged_files_tell_nothing(tmp_path: Path, content: bytes) -> None:
    place = folder_of(tmp_path / "m", {"model_type": "llama"})
    (Path(place) / "model.safetensors").write_bytes(content)
    assert weights(place) is None
    (Path(place) / "config.json").write_text("[", encoding="utf-8")
    assert weights(place) is None
    assert weights(str(tmp_path / "none.gguf")) is None


def test_the_preset_follows_the_models_size(tmp_path: Path) -> None:
    small = folder_of(tmp_path / "small", {"model_type": "llama"}, {"a": [SMALL]})
    large = folder_of(tmp_path / "large", {"model_type": "llama"}, {"a": [SMALL + 1]})
    for model, preset, says in (
        (None, "laptop", "the model mini"),
        ("mini", "laptop", "the model mini"),
        (small, "small", "this model has 1.5 billion weights"),
        (large, "small", "see --preset paper"),
        (str(tmp_path / "none"), "small", "not known before it is loaded"),
    ):
        name, (note,) = resolved("auto", model)
        assert name == preset
        assert note.startswith(f"note: preset {preset}, which is sized for")
        assert says in note
        assert ("--preset paper" in note) == (model == large)
    assert resolved("auto", None, ["clusters=4", f"model={small}"])[0] == "small"
    assert resolved("paper", small) == ("paper", ())


def test_a_plan_holds_the_preset_that_was_chosen(tmp_path: Path) -> None:
    small = folder_of(tmp_path / "small", {"model_type": "llama"}, {"a": [10]})
    plan = make_plan(methods="np", tasks="LaMP-2", model=small)
    assert plan.spec()["preset"] == "small"
    assert 'preset = "small"' in config_text(plan)
    assert plan.notes[0].startswith("note: preset small")
    assert make_plan(methods="np", tasks="LaMP-2", model=small, preset="laptop").spec()["preset"] == "laptop"


def test_a_preset_is_chosen_without_torch(tmp_path: Path) -> None:
    small = folder_of(tmp_path / "small", {"model_type": "llama"}, {"a": [10]})
    said = (
        "import sys; from prime_audit.plan.plan import make_plan; "
        f"p = make_plan(methods='np', tasks='LaMP-2', model={small!r}); "
        "print(p.preset, {'torch', 'transformers'} & sys.modules.keys())"
    )
    found = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "small set()"


def test_a_hub_id_is_counted_from_its_cached_files_else_as_the_hub_lists_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    answers = [
        SimpleNamespace(safetensors=SimpleNamespace(total=7_000_000_000)),
        SimpleNamespace(safetensors=None),
        OfflineModeIsEnabled("offline"),
        TimeoutError("slow"),
    ]

    def info(name: str, *, revision: str | None, timeout: float, expand: list[str]) -> Any:
        asked.append((name, revision, expand))
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    places = {"acme/known": Path(folder_of(tmp_path / "known", {}, {"a": [3, 5]})) / "config.json"}
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache",
        lambda name, file, revision: str(places[name]) if name in places and file == "config.json" else None,
    )
    monkeypatch.setattr("huggingface_hub.model_info", info)
    assert weights("acme/known") == 15
    assert asked == []
    assert weights("acme/large@v1") == 7_000_000_000
    assert asked == [("acme/large", "v1", ["safetensors"])]
    while answers:
        assert weights("acme/other") is None
