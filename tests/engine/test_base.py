"""Loading, refusing, merging into the weights and back; embeddings."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.embed import base_encoder, load_encoder
from prime_audit.engine.engine import Engine
from prime_audit.engine.load import DTYPES, load_base, pick_device
from prime_audit.engine.lora import Adapter
from prime_audit.engine.mixture import Request
from prime_audit.errors import UserError

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")


def refused(model, says, **options):
    with pytest.raises(UserError, match=says) as caught:
        load_base(str(model), **({"targets": TARGETS, "device": "cpu"} | options))
    assert "\n" not in str(caught.value)
    assert str(model) in str(caught.value) or options


def test_sites_are_the_projections_in_order(llama_folder):
    base = load_base(str(llama_folder), targets=TARGETS, device="cpu")
    assert [s.name for s in base.sites[:4]] == [f"model.layers.0.self_attn.{t}" for t in TARGETS]
    assert [(s.d_in, s.d_out) for s in base.sites[:4]] == [
        (32, 32),
        (32, 16),
        (32, 16),
        (32, 32),
    ]  # grouped-query
    assert [s.layer for s in base.sites] == [0] * 4 + [1] * 4 + [2] * 4
    assert (base.layers, base.dtype, base.codec.context) == (3, torch.float32, 160)
    assert base.parameters() == sum(p.numel() for p in base.model.parameters())
    assert not any(p.requires_grad for p in base.model.parameters())
    assert load_base(str(llama_folder), targets=TARGETS, device="cpu", context=99).codec.context == 99
    assert load_base(str(llama_folder), targets=TARGETS, device="cpu", context=999).codec.context == 160


@pytest.mark.parametrize("dtype", DTYPES)
def test_merge_and_restore_are_exact(bench, llama_folder, dtype):
    base = load_base(str(llama_folder), targets=TARGETS, device="cpu", dtype=dtype)
    assert base.dtype == DTYPES[dtype]
    adapters = bench().plain.adapters
    before = {k: v.clone() for k, v in base.model.state_dict().items()}
    sha = base.sha256()
    base.merge(adapters["ann"])
    for i, site in enumerate(base.sites):
        exact = (
            before[f"{site.name}.weight"].double()
            + 2 * adapters["ann"].B[i].double() @ adapters["ann"].A[i].double()
        )
        assert torch.equal(base.model.get_submodule(site.name).weight, exact.to(base.dtype))  # one rounding
    base.merge(adapters["bob"])
    assert base.sha256() != sha
    base.restore()
    assert all(torch.equal(v, before[k]) for k, v in base.model.state_dict().items())
    assert base.sha256() == sha
    base.restore()  # nothing to undo
    assert base.sha256() == sha


def test_an_adapter_of_another_model_is_not_merged(bench, llama_folder):
    base, ann = load_base(str(llama_folder), targets=TARGETS, device="cpu"), bench().plain.adapters["ann"]
    sha = base.sha256()
    names = tuple(s.replace("layers", "blocks") for s in ann.sites)
    for wrong in (Adapter(names, ann.A, ann.B, 1.0), Adapter(ann.sites, ann.A, ann.B[1:] + ann.B[:1], 1.0)):
        with pytest.raises(ValueError, match="the adapter"):
            base.merge(wrong)
    assert base.sha256() == sha


def test_models_without_linear_attention_are_refused(model_folder):
    refused(model_folder("gpt2"), "no Linear layer named q_proj, k_proj, v_proj, o_proj to adapt")
    refused(
        model_folder("llama"), "no Linear layer named w_pack", targets=["q_proj", "w_pack"]
    )  # not half of them


def test_a_model_that_only_generates_needs_no_such_layers(model_folder):
    base = load_base(str(model_folder("gpt2")), targets=(), device="cpu", dtype="float32")
    answers = Engine(base=base, bank=AdapterBank(base)).generate([Request("the council"), Request("Tag:")], 5)
    assert len(answers) == 2


def test_what_is_no_model_folder_is_one_line(tmp_path, llama_folder):
    refused(tmp_path / "absent", "no such model folder")
    refused(tmp_path, "has no config.json")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", "no such model folder")
    for name, text in {
        "broken": "{",
        "strange": json.dumps({"model_type": "no-such-architecture"}),
        "bare": (llama_folder / "config.json").read_text(),  # no weights
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
        refused(tmp_path / name, "cannot be loaded")
    cut = shutil.copytree(llama_folder, tmp_path / "cut")
    weights = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    refused(cut, "cannot be loaded")
    mute = shutil.copytree(llama_folder, tmp_path / "mute")
    for file in mute.glob("tokenizer*"):
        file.unlink()
    refused(mute, "tokenizer cannot be loaded")
    endless = shutil.copytree(llama_folder, tmp_path / "endless")
    config = json.loads((endless / "tokenizer_config.json").read_text())
    (endless / "tokenizer_config.json").write_text(
        json.dumps({k: v for k, v in config.items() if k != "eos_token"})
    )
    refused(endless, f"model {endless}: its tokenizer has no end-of-text token", targets=TARGETS)
    alien = shutil.copytree(llama_folder, tmp_path / "alien")
    (alien / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": "<|new|>"}))
    refused(alien, "end-of-text is outside the model's vocabulary")


def test_devices_and_dtypes(llama_folder, monkeypatch):
    refused(llama_folder, "unknown dtype 'float31': did you mean float32", dtype="float31")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == "cpu"
    refused(llama_folder, "torch sees no CUDA device", device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == "cuda"


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_embeddings_are_means_of_the_last_states(bench, model_folder, kind):
    b = bench(kind)
    texts = ["the council", "rain again, so no football; the kettle is on", "", "star " * 30]
    ours = base_encoder(b.engine.base, limit=16).embed(texts)
    assert (ours.shape, ours.dtype) == ((4, 32), np.float64)
    model = b.plain.model()
    for text, row in zip(texts, ours, strict=True):
        ids = b.plain.tokenizer(text)["input_ids"][:16] or [b.plain.tokenizer.pad_token_id]
        with torch.inference_mode():
            states = model.model(torch.tensor([ids], device=b.plain.device)).last_hidden_state[0]
        np.testing.assert_allclose(row, states.double().mean(0).cpu().numpy(), atol=1e-5)
    apart = load_encoder(str(model_folder(kind)), b.plain.device, limit=16, batch_tokens=1).embed(texts)
    np.testing.assert_allclose(apart, ours, atol=1e-5)
