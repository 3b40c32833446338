"""A model folder of somebody else: weights in safetensors, JSON, and nothing of it is run."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from prime_audit.engine.load import load_base, load_tokenizer
from prime_audit.errors import UserError

from .files import Trap
from .helpers import Say, one_line

CODE = """
from pathlib import Path
Path(__file__).with_name("trap").write_text("run")
Path("trap").write_text("run")
"""
AUTO = {
    "AutoConfig": "theirs.Config",
    "AutoModelForCausalLM": "theirs.Model",
    "AutoTokenizer": ["theirs.Tokenizer", None],
}


@pytest.fixture
def model(llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy a good model, to be spoilt, with somebody's code beside it; what runs leaves a trap."""
    monkeypatch.chdir(tmp_path)
    copy = Path(shutil.copytree(llama_folder, tmp_path / "model"))
    (copy / "theirs.py").write_text(CODE)
    return copy


def entries(name: str, **changes: Any) -> Callable[[Path], Any]:
    def spoil(model: Path) -> None:
        content = json.loads((model / name).read_text()) | changes
        (model / name).write_text(json.dumps(content))

    return spoil


def pickled(name: str) -> Callable[[Path], Any]:
    """Put a pickle in the place of the weights, under their name or a ``.bin``'s."""

    def spoil(model: Path) -> None:
        (model / "model.safetensors").unlink()
        (model / name).write_bytes(pickle.dumps(Trap(model / "trap")))

    return spoil


def written(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda model: (model / name).write_bytes(content)


REFUSED: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "a pickle as .bin": (
        pickled("pytorch_model.bin"),
        ("only safetensors files are read, a .bin file may contain code",),
    ),
    "a pickle as safetensors": (pickled("model.safetensors"), ("cannot be loaded",)),
    "a model that is their code": (
        entries("config.json", model_type="theirs", auto_map=AUTO),
        ("cannot be loaded", "contains custom code"),
    ),
    "an adapter among the files": (
        written("adapter_config.json", b'{"base_model_name_or_path": "evil/model"}'),
        ("the folder contains an adapter (adapter_config.json); merge it, or remove it",),
    ),
    "a kernel of a hub": (
        entries("config.json", _attn_implementation="kernels-community/flash-attn2"),
        ("config.json names a kernel on a hub", "which is code; remove the entry"),
    ),
    "a kernel of a hub by another entry": (
        entries("config.json", attn_implementation="evil/kernel:run"),
        ("config.json names a kernel on a hub",),
    ),
    "a list for a configuration": (
        written("config.json", b"[]"),
        ("config.json is no JSON object; fix the file",),
    ),
    "nesting without end": (
        written("config.json", b"[" * 100_000),
        ("config.json is damaged (nested too deeply)",),
    ),
    "a key twice": (written("config.json", b'{"model_type": "a", "model_type": "b"}'), ("duplicate key",)),
    "no known model": (entries("config.json", model_type="\x1b[2J"), ("cannot be loaded",)),
    "heads that divide nothing": (entries("config.json", num_attention_heads=0), ("cannot be loaded",)),
    "other sizes than its weights": (entries("config.json", hidden_size=64), ("cannot be loaded",)),
    "a broken tokenizer": (written("tokenizer.json", b"{"), ("its tokenizer cannot be loaded",)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_model_is_refused(attempt: Say, model: Path, tmp_path: Path, name: str) -> None:
    spoil, parts = REFUSED[name]
    spoil(model)
    one_line(attempt(model=model), str(model), *parts)
    assert not list(tmp_path.rglob("trap"))
    assert not (tmp_path / "runs").exists()


def test_their_code_beside_a_model_that_transformers_knows_is_not_run(model: Path, tmp_path: Path) -> None:
    entries("config.json", auto_map=AUTO)(model)
    entries("tokenizer_config.json", auto_map=AUTO)(model)
    with suppress(UserError):  # transformers may load its own class, or refuse: neither is theirs
        load_base(str(model), targets=("q_proj",), device="cpu")
    with suppress(UserError):
        load_tokenizer(str(model), "theirs")
    assert not list(tmp_path.rglob("trap"))
