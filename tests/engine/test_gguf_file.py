"""A GGUF file is a model: its weights by transformers, its header within bounds."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prime_audit.engine import gguf_file
from prime_audit.engine.load import load_base
from prime_audit.errors import UserError

gguf = pytest.importorskip("gguf")
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def rotated(weight: np.ndarray, heads: int) -> np.ndarray:
    """Order the rows of a query or key projection as llama.cpp keeps them."""
    pairs = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(weight.shape))


@pytest.fixture(scope="module")
def written(llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write the tiny Llama as GGUF; ``kind`` of its matrices, more values for its header, and more tensors."""
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    def write(kind: str = "F32", extra: dict[str, np.ndarray] | None = None, **values: Any) -> Path:
        path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
        config = json.loads((llama_folder / "config.json").read_text())
        out = gguf.GGUFWriter(str(path), "llama")
        out.add_block_count(values.get("layers", config["num_hidden_layers"]))
        out.add_context_length(config["max_position_embeddings"])
        out.add_embedding_length(values.get("width", config["hidden_size"]))
        out.add_feed_forward_length(config["intermediate_size"])
        out.add_head_count(config["num_attention_heads"])
        out.add_head_count_kv(config["num_key_value_heads"])
        out.add_layer_norm_rms_eps(config["rms_norm_eps"])
        out.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
        if "scaling" in values:
            out.add_string("llama.rope.scaling.type", values["scaling"])
        tokenizer = AutoTokenizer.from_pretrained(llama_folder)
        model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
        words = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
        out.add_tokenizer_model("gpt2")
        out.add_tokenizer_pre(values.get("pre", "gpt-2"))
        out.add_token_list(words)
        out.add_token_types([3 if w in ("<s>", "</s>", "<pad>") else 1 for w in words])
        out.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
        for name in ("bos", "eos", "pad"):
            getattr(out, f"add_{name}_token_id")(getattr(tokenizer, f"{name}_token_id"))
        for name, tensor in load_file(llama_folder / "model.safetensors").items():
            weight = tensor.numpy()
            inner, _, rest = name.removeprefix("model.layers.").partition(".")
            for projection, heads in (("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")):
                if projection in name:
                    weight = rotated(weight, config[heads])
            top = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
            stem = name.removesuffix(".weight")
            named = top.get(stem) or f"blk.{inner}.{NAMES[rest.removesuffix('.weight')]}"
            if kind == "F32" or weight.ndim == 1 or weight.shape[1] % 32:
                out.add_tensor(f"{named}.weight", weight.astype(np.float32))
            else:
                how = gguf.GGMLQuantizationType[kind]
                out.add_tensor(f"{named}.weight", gguf.quants.quantize(weight, how), raw_dtype=how)
        for name, weight in (extra or {}).items():
            out.add_tensor(name, weight)
        out.write_header_to_file()
        out.write_kv_data_to_file()
        out.write_tensors_to_file()
        out.close()
        return path

    return write


def load(path: Path, **options: Any) -> Any:
    return load_base(str(path), targets=TARGETS, device="cpu", **options)


def test_it_is_the_model_that_it_was_made_from(written: Callable[..., Path], llama_folder: Path) -> None:
    path = written()
    ours, plain = load(path), load(llama_folder)
    assert ours.notes == ()
    assert ours.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not hasattr(ours.model.config, "quantization_config")
    for name, weight in plain.model.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], weight), name
    prompt = "Tag: a knight 12 rides\n"
    assert (
        ours.codec.tokenizer.convert_ids_to_tokens(ours.codec.tokenizer(prompt)["input_ids"])
        == (plain.codec.tokenizer.convert_ids_to_tokens(plain.codec.tokenizer(prompt)["input_ids"])[1:])
    )  # the writer above does not ask for begin-of-text


@pytest.mark.parametrize("kind", ["F32", "F16", "Q4_1"])
def test_it_is_the_model_that_transformers_reads(written: Callable[..., Path], kind: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = written(kind)
    ours, where = load(path), {"gguf_file": path.name}
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, dtype=torch.float32, **where, **gguf_file.unpacking()
    )
    assert ours.model.state_dict().keys() == model.state_dict().keys()
    for name, weight in model.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], weight), name
    settings = [
        {**m.config.to_dict(), "_name_or_path": "", "quantization_config": None} for m in (ours.model, model)
    ]
    assert settings[0] == settings[1]
    tokenizer = AutoTokenizer.from_pretrained(path.parent, **where)
    assert ours.codec.tokenizer.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert ours.codec.tokenizer.special_tokens_map == tokenizer.special_tokens_map


def test_its_metadata_is_read_once(written: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path, begin, opened = written(), gguf.GGUFReader.__init__, list[Any]()

    def counted(self: Any, path: Any, *more: Any) -> None:
        opened.append(path)
        begin(self, path, *more)

    monkeypatch.setattr(gguf.GGUFReader, "__init__", counted)
    before = gguf.GGUFReader, gguf.get_tensor_name_map
    load(path)
    assert len(opened) == 1
    load(path)  # another load is another reading: the file may have changed
    assert len(opened) == 2
    with pytest.raises(UserError):
        load(written(width=400_000))
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == before


def test_files_beside_it_have_no_part_in_it(written: Callable[..., Path], llama_folder: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path, plain = written(), load(written())
    tuned = LoraConfig(target_modules=["up_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(llama_folder), tuned).save_pretrained(path.parent)
    other = AutoTokenizer.from_pretrained(llama_folder)
    other.add_tokens(["knight"])
    other.save_pretrained(path.parent)
    (path.parent / "config.json").write_text('{"model_type": "bert", "vocab_size": 9}')
    ours = load(path)
    assert ours.fingerprint == plain.fingerprint
    assert ours.model.state_dict().keys() == plain.model.state_dict().keys()  # no adapter inside


def test_blocks_are_dequantised_and_noted(written: Callable[..., Path]) -> None:
    path = written("Q8_0")
    base = load(path, dtype="bfloat16")
    assert base.notes == ("the base model is quantised (Q8_0): its weights were dequantised to bfloat16",)
    (tensor,) = (t for t in gguf.GGUFReader(path).tensors if t.name == "blk.1.ffn_up.weight")
    wanted = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type)).to(torch.bfloat16)
    assert torch.equal(base.model.model.layers[1].mlp.up_proj.weight, wanted)


def test_numbers_are_split_as_in_training(written: Callable[..., Path]) -> None:
    texts = {pre: load(written(pre=pre)).codec.tokenizer for pre in ("gpt-2", "smollm", "someone's")}
    split = {pre: t.backend_tokenizer.pre_tokenizer.pre_tokenize_str("a  27") for pre, t in texts.items()}
    assert [w for w, _ in split["gpt-2"]] == ["a", "Ġ", "Ġ27"]
    assert [w for w, _ in split["smollm"]] == ["a", "ĠĠ", "2", "7"]
    (note,) = load(written(pre="someone's")).notes
    assert "way to split text (someone's) is unknown" in note


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layers": 2_000_000_000}, "cannot make 2000000000 layers"),
        ({"width": 400_000}, "its header asks for"),
        ({"scaling": "yarn"}, "its positions are scaled"),
        ({"extra": {"rope_freqs.weight": np.ones(4, np.float32)}}, "its positions are scaled"),
    ],
)
def test_a_header_that_cannot_be_right_is_refused(
    written: Callable[..., Path], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        load(written(**options))


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        gguf_file.read(str(path), UserError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_damaged_file_is_refused(written: Callable[..., Path], tmp_path: Path) -> None:
    content, path = written().read_bytes(), tmp_path / "bad.gguf"
    for size in (0, 3, 20, 200, 5000, len(content) - 1):
        path.write_bytes(content[:size])
        refused(path)
    path.write_bytes(content[:8] + struct.pack("<QQ", 1 << 62, 1 << 62) + content[24:])
    assert "more than" in refused(path)
    path.write_bytes(b"GGML" + content[4:])
    assert "does not start with GGUF" in refused(path)


@given(at=st.integers(0, 4000), byte=st.integers(0, 255))
@settings(max_examples=60)
def test_any_changed_byte_is_read_or_refused(written: Callable[..., Path], at: int, byte: int) -> None:
    content = bytearray(_whole(written))
    content[at % len(content)] = byte
    path = _whole_path(written).with_name("changed.gguf")
    path.write_bytes(content)
    with suppress(UserError):
        gguf_file.read(str(path), UserError)


_PATHS: list[Path] = []


def _whole_path(written: Callable[..., Path]) -> Path:
    if not _PATHS:
        _PATHS.append(written())
    return _PATHS[0]


def _whole(written: Callable[..., Path]) -> bytes:
    return _whole_path(written).read_bytes()


def test_what_is_passed_wrongly_gets_one_line(
    written: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prime_audit.engine.load import resolve_model

    path = written()
    with pytest.raises(UserError, match=f"pass a GGUF file itself: --model {path}"):
        resolve_model(str(path.parent))
    with pytest.raises(UserError, match="a GGUF file is a language model here"):
        resolve_model(str(path), "encoder")
    with pytest.raises(UserError, match="no such GGUF file"):
        resolve_model(str(path.with_name("none.gguf")))
    monkeypatch.setattr(gguf_file, "find_spec", lambda _: None)
    assert "pip install 'prime-audit[gguf]'" in refused(path)


@pytest.mark.slow
def test_a_run_on_a_gguf_file_is_exported_and_cached(
    quick: Any, written: Callable[..., Path], tmp_path: Path
) -> None:
    from prime_audit.export.export import export

    path = written("Q8_0")
    run = quick("np,nearest", model=str(path), cache=tmp_path / "cache")
    assert run.record.model.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "quantised (Q8_0)" in " ".join(run.record.warnings)
    target = next(iter(run.models()))["target"]
    made = export(run.path, target, "nearest", tmp_path / "out", cache=tmp_path / "cache")
    assert f'gguf_file="{path.name}"' in (made.path / "README.md").read_text().replace("'", '"')
    assert json.loads((made.path / "adapter_config.json").read_text())["base_model_name_or_path"] == str(path)
