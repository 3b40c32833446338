"""PEFT's file format in both directions, merging on disk, and everything that is no plain LoRA."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from prime_audit.engine.adapters import load_adapter, save_adapter
from prime_audit.engine.lora import Adapter
from prime_audit.engine.mixture import Mixture, Request, alone
from prime_audit.engine.rules import merge_adapters
from prime_audit.errors import UserError

NAMES = ("ann", "bob", "cem")


def score(b, mixture, pairs):
    return b.engine.score([Request(p, mixture, gold=g) for p, g in pairs])


def test_peft_loads_what_we_save(bench, pairs, worst, tmp_path):
    b = bench()
    save_adapter(b.plain.adapters["ann"], tmp_path / "new" / "ann", base_model="tiny", dropout=0.05)
    peft = PeftModel.from_pretrained(b.plain.model(), tmp_path / "new" / "ann")
    assert worst(score(b, alone("ann"), pairs), b.plain.score(peft, pairs)) < 1e-4
    assert sorted(p.name for p in (tmp_path / "new" / "ann").iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    config = json.loads((tmp_path / "new" / "ann" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (4, 8, 0.05)
    assert config["base_model_name_or_path"] == "tiny"


@pytest.mark.parametrize("rslora", [False, True])
def test_we_load_what_peft_saves(bench, pairs, worst, tmp_path, rslora):
    b = bench()
    config = LoraConfig(
        r=3, lora_alpha=6, target_modules=["v_proj", "o_proj", "q_proj", "k_proj"], use_rslora=rslora,
        init_lora_weights=False, task_type="CAUSAL_LM",
    )  # fmt: skip
    torch.manual_seed(0)
    peft = get_peft_model(b.plain.model(), config).eval()
    peft.save_pretrained(tmp_path)
    adapter = load_adapter(tmp_path)
    assert adapter.sites == b.plain.sites
    assert adapter.scaling == pytest.approx(6 / 3**0.5 if rslora else 2.0)
    b.engine.base.merge(adapter)
    assert worst(score(b, Mixture(), pairs), b.plain.score(peft, pairs)) < 1e-4


def test_a_round_trip_changes_nothing(bench, tmp_path):
    adapter = bench().plain.adapters["dot"]
    for half in (adapter, Adapter(adapter.sites, adapter.A, adapter.B, 0.3)):  # alpha 1.2: no whole number
        save_adapter(half, tmp_path)  # over the first
        again = load_adapter(tmp_path)
        assert (again.sites, again.rank) == (half.sites, 4)
        assert again.scaling == pytest.approx(half.scaling)
        assert all(map(torch.equal, (*again.A, *again.B), (*half.A, *half.B)))


@pytest.mark.parametrize("rule", ["delta", "factor"])
@pytest.mark.parametrize("per_site", [False, True])
def test_a_merge_on_disk_is_the_merge_by_hand(bench, pairs, worst, tmp_path, rule, per_site):
    b = bench()
    weights = np.random.default_rng(2).uniform(-1.5, 1.5, (12, 3) if per_site else 3)
    merged = merge_adapters([b.plain.adapters[n] for n in NAMES], torch.tensor(weights), rule)
    assert merged.rank == (12 if rule == "delta" else 4)
    save_adapter(merged, tmp_path)
    peft = b.plain.score(PeftModel.from_pretrained(b.plain.model(), tmp_path), pairs)
    hand = b.plain.score(b.plain.soup(NAMES, np.broadcast_to(weights, (12, 3)), rule), pairs)
    assert worst(peft, hand) < 1e-4
    assert worst(peft, score(b, Mixture(NAMES, weights, rule), pairs)) < 1e-4


def test_delta_merges_adapters_of_unlike_rank_and_scaling(bench, pairs, worst):
    b = bench()
    ann, bob = (b.plain.adapters[n] for n in ("ann", "bob"))
    thin = Adapter(bob.sites, tuple(a[:2] for a in bob.A), tuple(x[:, :2] for x in bob.B), 0.7)
    b.engine.base.merge(merge_adapters([ann, thin], torch.tensor([0.5, -1.2])))
    hand = b.plain.merged(lambda i: 0.5 * 2.0 * ann.B[i] @ ann.A[i] - 1.2 * 0.7 * thin.B[i] @ thin.A[i])
    assert worst(score(b, Mixture(), pairs), b.plain.score(hand, pairs)) < 1e-4
    with pytest.raises(UserError, match="needs adapters of equal rank and alpha; use --rule delta"):
        merge_adapters([ann, thin], torch.tensor([0.5, 0.5]), "factor")


def test_merges_that_make_no_sense_are_one_line(bench):
    plain = bench().plain
    ann, bob = plain.adapters["ann"], plain.adapters["bob"]
    for weights in (torch.ones(1), torch.ones(3), torch.ones(5, 2), torch.ones(())):
        with pytest.raises(UserError, match="2 adapters and weights"):
            merge_adapters([ann, bob], weights)
    with pytest.raises(UserError, match="0 adapters"):
        merge_adapters([], torch.ones(0))
    with pytest.raises(UserError, match="unknown merge rule 'detla': did you mean delta"):
        merge_adapters([ann, bob], torch.ones(2), "detla")
    short = Adapter(bob.sites[4:], bob.A[4:], bob.B[4:], bob.scaling)
    wide = Adapter(bob.sites, bob.A, tuple(torch.cat([x, x]) for x in bob.B), bob.scaling)
    for other in (short, wide):
        with pytest.raises(UserError, match="different layers or models"):
            merge_adapters([ann, other], torch.ones(2))


@pytest.fixture
def saved(bench, tmp_path):
    save_adapter(bench().plain.adapters["ann"], tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"use_dora": True}, "use_dora is not supported"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern is not supported"),
        ({"alpha_pattern": {"q_proj": 2}}, "alpha_pattern is not supported"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is not supported"),
        ({"bias": "all"}, "bias=all is not supported"),
        ({"lora_bias": True}, "lora_bias is not supported"),
        ({"layer_replication": [[0, 2]]}, "layer_replication is not supported"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens is not supported"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights=pissa_niter_4 is not supported"),
        ({"use_dora": True, "bias": "all"}, "use_dora, bias=all is not supported"),
        ({"peft_type": "IA3"}, "IA3 is not supported"),
        ({"r": 0}, "not a PEFT configuration"),
        ({"r": "8"}, "not a PEFT configuration"),
        ({"lora_alpha": None}, "not a PEFT configuration"),
        ({"r": 8}, "do not have the rank 8"),
    ],
)
def test_adapters_that_are_no_plain_lora_are_refused(saved, change, says):
    path = saved / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=says) as caught:
        load_adapter(saved)
    assert "\n" not in str(caught.value)
    assert str(saved) in str(caught.value)


def broken_tensors(change):
    def apply(folder):
        tensors = load_file(folder / "adapter_model.safetensors")
        change(tensors)
        save_file(tensors, folder / "adapter_model.safetensors")

    return apply


FIRST = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda d: (d / "adapter_config.json").unlink(), "no adapter_config.json"),
        (lambda d: (d / "adapter_model.safetensors").unlink(), "no adapter_model.safetensors"),
        (lambda d: (d / "adapter_config.json").write_text('{"r": 4,'), "not a PEFT configuration"),
        (lambda d: (d / "adapter_config.json").write_text("[]"), "not a PEFT configuration"),
        (lambda d: (d / "adapter_config.json").write_text("{}"), "not a PEFT configuration"),
        (lambda d: (d / "adapter_config.json").write_bytes(b"\xff\xfe"), "not a PEFT configuration"),
        (lambda d: (d / "adapter_model.safetensors").write_bytes(b""), "cannot be read as safetensors"),
        (
            lambda d: (d / "adapter_model.safetensors").write_bytes(
                (d / "adapter_model.safetensors").read_bytes()[:-9]
            ),
            "cannot be read as safetensors",
        ),
        (broken_tensors(lambda t: t.pop(f"{FIRST}.lora_B.weight")), "lora_B.weight' is missing"),
        (broken_tensors(lambda t: t.update({f"{FIRST}.lora_magnitude_vector": torch.ones(3)})), "is no LoRA factor"),
        (broken_tensors(lambda t: t.clear()), "contains no LoRA factors"),
        (broken_tensors(lambda t: t.update({f"{FIRST}.lora_B.weight": torch.ones(32, 3)})), "do not have the rank 4"),
    ],
)  # fmt: skip
def test_damaged_folders_are_one_line(saved, damage, says):
    damage(saved)
    with pytest.raises(UserError, match=says) as caught:
        load_adapter(saved)
    assert "\n" not in str(caught.value)
    assert str(saved) in str(caught.value)
