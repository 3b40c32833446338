"""What is refused and noted of a checkpoint: weights that are missing, codes for weights, other vocabularies, BERT."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from prime_audit.engine import checkpoint
from prime_audit.engine.embed import load_encoder
from prime_audit.engine.load import load_base
from prime_audit.engine.lora import Adapter
from prime_audit.errors import UserError
from tests.adapters import Tensors, change, configure

TARGETS = ("q_proj", "v_proj")
TEXTS = ["a knight rides out to find the lost star", "rain again, so no football; the kettle is on"]


@pytest.fixture
def changed(llama_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copy the tiny Llama with other tensors, and entries added to its configuration."""

    def make(how: Callable[[Tensors], Tensors] = dict, **config: Any) -> Path:
        folder = Path(shutil.copytree(llama_folder, tmp_path / "model"))
        change(folder, how, "model.safetensors")
        configure(folder, "config.json", **config)
        return folder

    return make


def refusal(load: Callable[..., Any], folder: Path, *parts: str, **options: Any) -> None:
    with pytest.raises(UserError) as caught:
        load(str(folder), device="cpu", **options)
    said = str(caught.value)
    assert "\n" not in said
    for part in (str(folder), *parts):
        assert part in said, said


def without(*parts: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {k: v for k, v in tensors.items() if not any(part in k for part in parts)}


def renamed(start: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {start + k: v for k, v in tensors.items()}


LACKING: dict[str, tuple[Callable[[Tensors], Tensors], dict[str, Any], tuple[str, ...]]] = {
    "the output layer": (
        without("lm_head"), {}, ("lack 1 of the tensors", "(lm_head.weight)", "tie_word_embeddings"),
    ),
    "a layer": (without(".layers.1."), {}, ("lack 9 of", "first: model.layers.1.input_layernorm.weight")),
    "a layer that is configured": (dict, {"num_hidden_layers": 4}, ("lack 9 of", "model.layers.3.")),
    "all, in a PEFT wrapper": (renamed("base_model.model."), {}, ("merge_and_unload()",)),
    "all, in a compiled one": (renamed("_orig_mod."), {}, ("torch.compile", "model._orig_mod")),
    "the head of a classifier": (
        lambda t: without("lm_head")(t) | {"score.weight": torch.ones(2, 32)},
        {"architectures": ["LlamaForSequenceClassification"]},
        ("saved as LlamaForSequenceClassification", "pass a causal language model"),
    ),
    "room for its embedding": (
        lambda t: t | {"model.embed_tokens.weight": torch.ones(7, 32)},
        {},
        ("1 tensors have other shapes", "model.embed_tokens.weight is (7, 32), not ("),
    ),
    "what its scales say": (
        lambda t: t | {"model.layers.0.mlp.up_proj.weight_scale": torch.ones(1)},
        {},
        ("its weights are quantised (model.layers.0.mlp.up_proj.weight_scale)", "no quantization_config"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LACKING)
def test_a_checkpoint_that_does_not_fill_its_model_is_refused(
    changed: Callable[..., Path], name: str
) -> None:
    change, config, parts = LACKING[name]
    refusal(load_base, changed(change, **config), *parts, targets=TARGETS)


def test_a_tied_output_layer_is_not_missing(changed: Callable[..., Path]) -> None:
    folder = changed(without("lm_head"), tie_word_embeddings=True)
    assert load_base(str(folder), targets=TARGETS, device="cpu").notes == ()


def test_tensors_without_a_place_are_noted_by_kind(changed: Callable[..., Path], llama_folder: Path) -> None:
    at = "model.layers.0.self_attn"
    extra = {
        f"{at}.q_proj.lora_A.weight": torch.ones(2, 32),
        f"{at}.q_proj.bias": torch.ones(32),
        f"{at}.k_proj.k_scale": torch.ones(1),
    }
    base = load_base(str(changed(lambda t: t | extra)), targets=TARGETS, device="cpu")
    (line,) = base.notes
    assert line.startswith("the base model has no place for 3 tensors of its files, which have no effect: ")
    assert f"1 LoRA weights that were never merged ({at}.q_proj.lora_A.weight)" in line
    assert f"1 biases that config.json switches off ({at}.q_proj.bias)" in line
    assert f"1 quantisation scales ({at}.k_proj.k_scale)" in line
    assert base.loaded_sha256 == load_base(str(llama_folder), targets=TARGETS, device="cpu").loaded_sha256


@pytest.mark.slow
def test_notes_are_warnings_of_the_run(quick: Any, changed: Callable[..., Path]) -> None:
    folder = changed(lambda t: t | {"model.layers.0.self_attn.q_proj.bias": torch.ones(32)})
    run = quick("np", model=str(folder), games="", attacks="")
    assert "the base model has no place for 1 tensors" in " ".join(run.record.warnings)


# -- quantised weights ---------------------------------------------------------------------------------------------


def bnb_folder(llama_folder: Path, folder: Path, **how: Any) -> Path:
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    config = BitsAndBytesConfig(**how)
    AutoModelForCausalLM.from_pretrained(
        llama_folder, quantization_config=config, device_map={"": "cpu"}, dtype=torch.float32
    ).save_pretrained(folder)
    for file in llama_folder.glob("token*"):
        shutil.copy(file, folder)
    return folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("how", ["load_in_8bit", "load_in_4bit"])
def test_bitsandbytes_weights_are_dequantised_as_transformers_does(
    llama_folder: Path, tmp_path: Path, how: str, dtype: str
) -> None:
    from transformers import AutoModelForCausalLM

    folder = bnb_folder(llama_folder, tmp_path / "bnb", **{how: True})
    base = load_base(str(folder), targets=TARGETS, device="cpu", dtype=dtype)
    theirs = AutoModelForCausalLM.from_pretrained(folder, device_map={"": "cpu"}, dtype=getattr(torch, dtype))
    theirs = theirs.dequantize(getattr(torch, dtype))
    assert {weight.dtype for weight in base.model.parameters()} == {getattr(torch, dtype)}
    for site in base.sites:
        own = base.model.get_submodule(site.name).weight
        assert torch.equal(own, theirs.get_submodule(site.name).weight)
    assert base.notes == (
        f"the base model is quantised (bitsandbytes): its weights were dequantised to {dtype}",
    )
    # Base adaptation adds to true weights.
    noise = torch.Generator().manual_seed(3)
    a = tuple(torch.randn(2, s.d_in, generator=noise) for s in base.sites)
    b = tuple(torch.randn(s.d_out, 2, generator=noise) for s in base.sites)
    before = [base.model.get_submodule(s.name).weight.double() for s in base.sites]
    base.merge(Adapter(tuple(s.name for s in base.sites), a, b, 1.0))
    for site, weight, x, y in zip(base.sites, before, a, b, strict=True):
        gap = base.model.get_submodule(site.name).weight.double() - weight - y.double() @ x.double()
        assert gap.abs().max() < (1e-5 if dtype == "float32" else 0.1)


def test_fp8_blocks_are_dequantised(changed: Callable[..., Path]) -> None:
    truth: Tensors = {}

    def to_fp8(tensors: Tensors) -> Tensors:
        out = dict(tensors)
        for key in [k for k in tensors if ".layers." in k and "_proj" in k]:
            scale = torch.tensor([[0.25]])
            out[key] = (tensors[key] / scale).to(torch.float8_e4m3fn)
            out[key.replace(".weight", ".weight_scale_inv")] = scale
            truth[key] = out[key].float() * scale
        return out

    how = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
    base = load_base(str(changed(to_fp8, quantization_config=how)), targets=TARGETS, device="cpu")
    for key, weight in truth.items():
        assert torch.equal(base.model.get_parameter(key), weight), key
    assert "quantised (fp8)" in base.notes[0]


@pytest.mark.parametrize("method", ["gptq", "awq", "someone's"])
def test_what_transformers_cannot_dequantise_is_refused(changed: Callable[..., Path], method: str) -> None:
    folder = changed(quantization_config={"quant_method": method, "bits": 4, "group_size": 32})
    refusal(load_base, folder, f"quantised ({method})", "pass the model before", targets=TARGETS)


@pytest.mark.parametrize(
    ("how", "package"),
    [
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
    ],
)
def test_a_missing_package_is_named(
    changed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], package: str
) -> None:
    monkeypatch.setattr(checkpoint, "installed", lambda _: False)
    refusal(load_base, changed(quantization_config=how), f"pip install {package}", targets=TARGETS)


# -- vocabulary and causality --------------------------------------------------------------------------------------


def add_token(folder: Path, token: str, special: bool) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([token], special_tokens=special)
    tokenizer.save_pretrained(folder)


def test_a_tokenizer_larger_than_the_embedding_is_refused(changed: Callable[..., Path]) -> None:
    folder = changed()
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    add_token(folder, "detective", special=False)
    says = (f"token ids up to {rows}", f"its embedding has {rows} rows")
    refusal(load_base, folder, *says, targets=TARGETS)
    refusal(load_base, folder, *says, targets=(), role="profiler")
    refusal(load_encoder, folder, f"encoder {folder}", *says)


def test_a_special_token_beyond_the_embedding_is_refused_where_a_text_has_it(
    changed: Callable[..., Path],
) -> None:
    folder = changed()
    add_token(folder, "<image>", special=True)
    base = load_base(str(folder), targets=TARGETS, device="cpu")
    assert base.codec.prompt("a knight", 4).ids
    with pytest.raises(UserError, match="the special token '<image>'"):
        base.codec.prompt("a knight <image>", 4)
    with pytest.raises(UserError, match="the special token '<image>'"):
        load_encoder(str(folder), "cpu").embed(["a knight <image>"])


def test_a_begin_of_text_beyond_the_embedding_is_refused_at_load(changed: Callable[..., Path]) -> None:
    folder = changed()
    file, settings = folder / "tokenizer.json", folder / "tokenizer_config.json"
    add_token(folder, "<begin>", special=True)
    tokens = json.loads(file.read_text())
    (new,) = (t["id"] for t in tokens["added_tokens"] if t["content"] == "<begin>")
    front = {"SpecialToken": {"id": "<begin>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    tokens["post_processor"] = {
        "type": "TemplateProcessing", "single": front, "pair": front,
        "special_tokens": {"<begin>": {"id": "<begin>", "ids": [new], "tokens": ["<begin>"]}},
    }  # fmt: skip
    file.write_text(json.dumps(tokens))
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"bos_token": "<begin>"}))
    refusal(load_base, folder, f"token ids up to {new}", targets=TARGETS)


def bert_shape(rows: int, spread: float = 0.5) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=rows, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=24, initializer_range=spread,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["bert", "untrained bert", "t5"])
def test_a_model_that_is_not_causal_is_refused(llama_folder: Path, tmp_path: Path, kind: str) -> None:
    from transformers import BertForMaskedLM, T5Config, T5ForConditionalGeneration

    rows = json.loads((llama_folder / "config.json").read_text())["vocab_size"]
    torch.manual_seed(0)
    t5 = {"vocab_size": rows, "d_model": 32, "d_ff": 48, "num_layers": 1, "num_heads": 2, "d_kv": 16}
    model: Any = (
        T5ForConditionalGeneration(T5Config(**t5))
        if kind == "t5"
        else BertForMaskedLM(bert_shape(rows, 0.5 if kind == "bert" else 0.02))
    )
    model.save_pretrained(tmp_path)
    for file in llama_folder.glob("token*"):
        shutil.copy(file, tmp_path)
    says = "t5 is an encoder-decoder" if kind == "t5" else "logits depend on later tokens (bert)"
    refusal(load_base, tmp_path, says, "Llama", targets=("query", "value"))
    refusal(load_base, tmp_path, says, f"profiler {tmp_path}", targets=(), role="profiler")


# -- encoders ------------------------------------------------------------------------------------------------------


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """Make a tiny random BERT as sentence-transformers keeps it: its tokenizer has no end-of-text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertModel, PreTrainedTokenizerFast

    folder = tmp_path / "minilm"
    words = sorted({word for text in TEXTS for word in text.replace(",", " ,").replace(";", " ;").split()})
    ids = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    raw = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(bert_shape(len(ids)), add_pooling_layer=False).save_pretrained(folder)
    (folder / "modules.json").write_text("[]")
    return folder


def test_an_encoder_needs_no_end_of_text_and_no_pooler(encoder: Path) -> None:
    from transformers import AutoTokenizer, BertModel

    ours = load_encoder(str(encoder), "cpu")
    assert ours.notes == ()
    assert len(ours.sha256.split()) == 3
    tokenizer, plain = AutoTokenizer.from_pretrained(encoder), BertModel.from_pretrained(encoder).eval()
    assert tokenizer.eos_token_id is None
    with torch.inference_mode():
        theirs = [plain(**tokenizer(t, return_tensors="pt")).last_hidden_state[0].mean(0) for t in TEXTS]
    np.testing.assert_allclose(ours.embed(TEXTS), torch.stack(theirs).numpy(), atol=1e-5)


def test_an_encoder_reads_no_more_tokens_than_it_has_positions_for(encoder: Path) -> None:
    long = " ".join(TEXTS * 9)
    assert load_encoder(str(encoder), "cpu", limit=512).limit == 24
    load_encoder(str(encoder), "cpu", limit=512).embed([long])
    (encoder / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    assert load_encoder(str(encoder), "cpu", limit=512).limit == 8
    (encoder / "sentence_bert_config.json").write_text("[")
    refusal(load_encoder, encoder, "sentence_bert_config.json cannot be read")


def test_the_encoder_of_t5_is_an_encoder(llama_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, T5Config, T5EncoderModel

    rows = json.loads((llama_folder / "config.json").read_text())["vocab_size"]
    torch.manual_seed(0)
    plain = T5EncoderModel(T5Config(vocab_size=rows, d_model=32, d_ff=48, num_layers=1, num_heads=2, d_kv=16))
    plain.eval().save_pretrained(tmp_path)
    for file in llama_folder.glob("token*"):
        shutil.copy(file, tmp_path)
    ids = AutoTokenizer.from_pretrained(tmp_path)(TEXTS[0], return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        theirs = plain(input_ids=ids).last_hidden_state[0].mean(0).numpy()
    np.testing.assert_allclose(load_encoder(str(tmp_path), "cpu").embed(TEXTS[:1])[0], theirs, atol=1e-5)


@pytest.mark.parametrize("layout", ["", "0_Transformer"])
def test_another_pooling_is_noted(encoder: Path, layout: str, tmp_path: Path) -> None:
    folder = tmp_path / "sentences"
    shutil.copytree(encoder, folder / layout)
    (folder / "1_Pooling").mkdir()
    mean, cls = "pooling_mode_mean_tokens", "pooling_mode_cls_token"
    for said in ({mean: True, cls: False}, {"pooling_mode": "mean"}, {"pooling_mode": ["mean"]}, {}):
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(said))
        assert load_encoder(str(folder), "cpu").notes == ()
    for said in (
        {mean: False},
        {mean: True, cls: True},
        {"pooling_mode": "cls"},
        {"pooling_mode": ["mean", "max"]},
    ):
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(said))
        assert len(load_encoder(str(folder), "cpu").notes) == 1


@pytest.mark.parametrize("kind", ["clip", "vit"])
def test_an_encoder_of_images_is_refused(encoder: Path, tmp_path: Path, kind: str) -> None:
    import transformers as hf

    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    sees = small | {"image_size": 28, "patch_size": 14}
    both = {"text_config": small | {"vocab_size": 99}, "vision_config": sees}
    model: Any = hf.ViTModel(hf.ViTConfig(**sees)) if kind == "vit" else hf.CLIPModel(hf.CLIPConfig(**both))
    folder = shutil.copytree(encoder, tmp_path / kind)
    model.save_pretrained(folder)
    refusal(load_encoder, folder, f"encoder {folder}", "pass a")


def test_a_table_of_positions_by_another_name_limits_an_encoder(llama_folder: Path, tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2Model

    rows = json.loads((llama_folder / "config.json").read_text())["vocab_size"]
    GPT2Model(GPT2Config(n_embd=32, n_layer=1, n_head=2, n_positions=20, vocab_size=rows)).save_pretrained(
        tmp_path
    )
    for file in llama_folder.glob("token*"):
        shutil.copy(file, tmp_path)
    ours = load_encoder(str(tmp_path), "cpu")
    assert ours.limit == 20
    assert np.isfinite(ours.embed([" ".join(TEXTS * 9)])).all()


def test_an_old_sentence_transformers_folder_is_read(encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    shutil.copytree(encoder, tmp_path / "old" / "0_Transformer")
    ours = load_encoder(str(tmp_path / "old"), "cpu").embed(TEXTS)
    np.testing.assert_array_equal(ours, load_encoder(str(encoder), "cpu").embed(TEXTS))


def test_an_encoder_must_be_filled_but_may_bring_a_head(encoder: Path) -> None:
    file = encoder / "model.safetensors"
    whole = load_file(file)
    save_file(whole | {"cls.predictions.bias": torch.ones(4)}, file, metadata={"format": "pt"})
    assert load_encoder(str(encoder), "cpu").notes == ()
    save_file(without("layer.1.")(whole), file, metadata={"format": "pt"})
    refusal(load_encoder, encoder, f"encoder {encoder}", "its files lack 16 of the tensors")
