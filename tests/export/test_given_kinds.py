"""Adapters as other tools leave them: each kind that is read has PEFT's own update at every module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from prime_audit.community.given_adapters import GivenAdapters, load_given, modules_of
from prime_audit.engine.base import Base
from prime_audit.engine.load import load_base
from prime_audit.errors import UserError
from prime_audit.io.adapter_files import adapter_sha256
from prime_audit.lamp.data import Given, GivenSharer, User
from tests.adapters import change, configure

WIDE = ["q_proj", "k_proj", "v_proj", "o_proj"]


def made(plain: Any, folder: Path, **config: Any) -> Path:
    """Save an adapter with random factors by PEFT."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(len(folder.name))
    shape = {"r": 2, "lora_alpha": 4, "target_modules": WIDE, "task_type": "CAUSAL_LM"} | config
    model = get_peft_model(plain.model(), LoraConfig(**shape, init_lora_weights=False))
    model.peft_config[
        "default"
    ].init_lora_weights = True  # so that PEFT itself fills absent modules with zeros
    model.save_pretrained(folder)
    return folder


def by_peft(plain: Any, folder: Path) -> dict[str, torch.Tensor]:
    """Ask PEFT what the adapter in a folder adds to each weight."""
    model = plain.with_adapter(folder)
    return {
        name.removeprefix("base_model.model."): module.get_delta_weight("default").detach()
        for name, module in model.named_modules()
        if hasattr(module, "get_delta_weight")
    }


def given_of(*folders: Path) -> Given:
    return Given(
        tuple(GivenSharer(User(f.name, ()), (), (), f, adapter_sha256(f)) for f in folders), base=None
    )


def read(plain: Any, *folders: Path, **words: Any) -> tuple[GivenAdapters, Base]:
    given = given_of(*folders)
    modules = modules_of([given], WIDE, words.get("asked"))
    base = load_base(str(plain.folder), targets=modules, device="cpu")
    return load_given(given, base, {"rank": 2, "alpha": 4}, WIDE), base


def updates(found: GivenAdapters, name: str) -> dict[str, torch.Tensor]:
    adapter = found.adapters[f"sharer:{name}"]
    return {
        site: adapter.scaling * b.float() @ a.float()
        for site, a, b in zip(adapter.sites, adapter.A, adapter.B, strict=True)
    }


def require_same(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> None:
    """Compare all updates; what PEFT does not change must be zero."""
    assert theirs.keys() <= ours.keys()
    for site, delta in ours.items():
        expected = theirs.get(site, torch.zeros(()))
        assert float((delta - expected).abs().max()) < 1e-5, site
    assert max(float(d.abs().max()) for d in theirs.values()) > 1e-2


def dtype(kind: torch.dtype) -> Callable[[Path], None]:
    return lambda folder: change(folder, lambda t: {k: v.to(kind) for k, v in t.items()})


def without_a_module(folder: Path) -> None:
    change(folder, lambda t: {k: v for k, v in t.items() if "layers.1.self_attn.q_proj" not in k})


@dataclass(frozen=True)
class Kind:
    config: dict[str, Any] = field(default_factory=dict)
    change: Callable[[Path], None] = lambda folder: None


KINDS = {
    "plain": Kind(),
    "rank_pattern": Kind({"rank_pattern": {"q_proj": 4, "layers.1.self_attn.v_proj": 1}}),
    "rank_pattern, a regex": Kind({"rank_pattern": {r"model\.layers\.[02]\.self_attn\.(k|o)_proj": 5}}),
    "alpha_pattern": Kind({"alpha_pattern": {"v_proj": 16, "layers.0.self_attn.q_proj": 0}}),
    "alpha_pattern, a regex": Kind({"alpha_pattern": {r"^model\.layers\.0.*q_proj": 7, ".*o_proj": 2.5}}),
    "a part of a name is no match": Kind({"alpha_pattern": {"proj": 16, "q_proj.x": 3}}),
    "both patterns with rsLoRA": Kind(
        {"use_rslora": True, "r": 4, "rank_pattern": {"q_proj": 3}, "alpha_pattern": {"q_proj": 1, "k_proj": 9}}
    ),
    "rank lowered everywhere": Kind({"r": 8, "rank_pattern": {".*_proj": 1}}),
    "lora_alpha 0 but for one": Kind({"lora_alpha": 0, "alpha_pattern": {"k_proj": 4}}),
    "one layer": Kind({"layers_to_transform": [1]}),
    "some excluded": Kind({"exclude_modules": ["layers.0.self_attn.q_proj"]}),
    "q and v": Kind({"target_modules": ["q_proj", "v_proj"]}),
    "all linear layers": Kind({"target_modules": "all-linear"}),
    "a regex of targets": Kind({"target_modules": r".*layers\.[12]\.(self_attn\.q|mlp\.down)_proj"}),
    "fan_in_fan_out": Kind({"fan_in_fan_out": True}),
    "alpha is a fraction": Kind({"lora_alpha": 4.5}),
    "a module is lost": Kind(change=without_a_module),
    "bfloat16": Kind(change=dtype(torch.bfloat16)),
    "float16": Kind(change=dtype(torch.float16)),
    "float8_e4m3fn": Kind(change=dtype(torch.float8_e4m3fn)),
    "float8_e5m2": Kind(change=dtype(torch.float8_e5m2)),
    "float64": Kind(change=dtype(torch.float64)),
    "the adapter's name in keys": Kind(
        change=lambda f: change(f, lambda t: {k.replace(".weight", ".default.weight"): v for k, v in t.items()})
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_has_pefts_updates(plain: Any, tmp_path: Path, name: str) -> None:
    folder = made(plain, tmp_path / "ann", **KINDS[name].config)
    KINDS[name].change(folder)
    found, _ = read(plain, folder)
    require_same(updates(found, "ann"), by_peft(plain, folder))


RENAMED = {
    "no prefix": lambda k: k.removeprefix("base_model.model."),
    "one prefix less": lambda k: k.replace("base_model.model.model.", "base_model.model."),
    "only layers": lambda k: k.replace("base_model.model.model.", ""),
    "multimodal": lambda k: k.replace(".model.layers.", ".model.language_model.layers."),
    "multimodal, older": lambda k: k.replace(".model.layers.", ".language_model.model.layers."),
    "compiled": lambda k: k.replace("base_model.model.", "base_model.model._orig_mod."),
}


@pytest.mark.parametrize("name", RENAMED)
def test_names_of_other_models_are_mapped(plain: Any, tmp_path: Path, name: str) -> None:
    """PEFT leaves such tensors out, silently: the truth is what the same adapter does under its right names."""
    folder = made(plain, tmp_path / "ann")
    truth = by_peft(plain, folder)
    change(folder, lambda t: {RENAMED[name](k): v for k, v in t.items()})
    found, _ = read(plain, folder)
    require_same(updates(found, "ann"), truth)
    assert any("name tensors in another way than PEFT does" in note for note in found.notes)


def test_the_run_adapts_the_union(plain: Any, tmp_path: Path) -> None:
    ann = made(plain, tmp_path / "ann", target_modules=["q_proj", "v_proj"], r=3)
    bea = made(plain, tmp_path / "bea", target_modules=["down_proj"], layers_to_transform=[2])
    found, base = read(plain, ann, bea)
    assert {site.name.rpartition(".")[2] for site in base.sites} == {"q_proj", "v_proj", "down_proj"}
    assert len(base.sites) == 9
    for folder in (ann, bea):
        require_same(updates(found, folder.name), by_peft(plain, folder))
    assert any("this run adapts q_proj, v_proj, down_proj" in note for note in found.notes)
    assert any("2 of 2 given adapters change only some of the 9" in note for note in found.notes)
    wide = modules_of([given_of(ann)], WIDE, [*WIDE, "up_proj"])
    assert wide == (*WIDE, "up_proj")  # the user may ask for more
    with pytest.raises(
        UserError, match=r"adapts down_proj, but --set lora\.modules=q_proj\+v_proj leaves it out"
    ):
        modules_of([given_of(ann, bea)], WIDE, ["q_proj", "v_proj"])


def test_patterns_match_as_in_peft() -> None:
    from peft.utils.other import get_pattern_key

    from prime_audit.engine.adapters import _in_pattern

    patterns = (
        "q_proj",
        "proj",
        "self_attn.q_proj",
        "layers.1.self_attn.q_proj",
        "layers.1",
        ".*v_proj",
        "^model.*k_proj",
    )
    patterns += (r"model\.layers\.\d+\.self_attn\.(q|v)_proj", "attn.o_proj", "", "o_proj$")
    for layer in (0, 1, 11):
        for leaf in WIDE:
            site = f"model.layers.{layer}.self_attn.{leaf}"
            for pattern in patterns:
                theirs = get_pattern_key([pattern], site) == pattern
                ours = _in_pattern({"p": {pattern: True}}, "p", site, False, Path())
                assert ours == theirs, (pattern, site)


def test_a_pattern_cannot_keep_the_run_waiting(
    plain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prime_audit.engine.adapters._SECONDS", 0.05)
    folder = made(plain, tmp_path / "ann")
    for pattern in (r"((\w|\.|[a-z])+)+\d", "("):
        configure(folder, rank_pattern={pattern: 2})
        with pytest.raises(UserError, match=r"rank_pattern: the pattern .* cannot be matched") as caught:
            read(plain, folder)
        assert "\n" not in str(caught.value)


def empty(shape: Callable[[torch.Tensor], tuple[int, ...]]) -> Callable[[Path], None]:
    return lambda f: change(f, lambda t: {k: torch.zeros(shape(v)) for k, v in t.items()})


REFUSED: dict[str, tuple[dict[str, Any], Callable[[Path], None], str]] = {
    "ZeRO-3": ({}, empty(lambda v: (0,)), "is empty (shape [0]), as DeepSpeed ZeRO-3 saves"),
    "ZeRO-3, rows": ({}, empty(lambda v: (0, v.shape[1])), "save with stage3_gather_16bit_weights_on_model_save"),
    "ZeRO-3, a shard": ({}, empty(lambda v: (9,)), "is flat (shape [9]), as DeepSpeed ZeRO-3 saves"),
    "LoHa": ({}, lambda f: (f / "adapter_config.json").write_text('{"peft_type": "LOHA", "r": 2}'), "LOHA is not"),
    "VeRA": ({}, lambda f: configure(f, peft_type="VERA"), "convert it with peft.save_as_lora"),
    "AdaLoRA": ({}, lambda f: configure(f, peft_type="ADALORA"), "ADALORA is not supported: only LoRA adapters"),
    "DoRA": ({"use_dora": True}, lambda f: None, "use_dora is not supported: DoRA also rescales the base's weights"),
    "lora_bias": ({"lora_bias": True}, lambda f: None, "train with lora_bias=False"),
    "bias": ({"bias": "lora_only"}, lambda f: None, 'train with bias="none"'),
    "modules_to_save": ({"modules_to_save": ["lm_head"]}, lambda f: None, "train with modules_to_save=None"),
    "tokens": ({"trainable_token_indices": [5]}, lambda f: None, "rows of the embedding were trained"),
    "layers twice": ({}, lambda f: configure(f, layer_replication=[[0, 2], [1, 3]]), "a model with repeated layers"),
    "PiSSA": ({}, lambda f: configure(f, init_lora_weights="pissa"), "path_initial_model_for_weight_conversion"),
    "the output layer": ({"target_modules": [*WIDE, "lm_head"]}, lambda f: None, "beside a LoRA on an embedding"),
    "the output layer, factors alone": (
        {"target_modules": [*WIDE, "lm_head"]},
        lambda f: change(f, lambda t: {k: v for k, v in t.items() if "base_layer" not in k}),
        "adapts lm_head, which is outside the decoder layers; leave lm_head out of target_modules",
    ),
    "an embedding": ({"target_modules": [*WIDE, "embed_tokens"]}, lambda f: None, "a LoRA on an embedding"),
    "a vision tower": (
        {},
        lambda f: change(f, lambda t: {k.replace("model.layers", "vision_tower.layers"): v for k, v in t.items()}),
        "changes nothing that reads text; pass an adapter trained on text",
    ),
    "the rank": ({}, lambda f: configure(f, r=4), "do not have the rank 4 that adapter_config.json gives"),
    "targets": ({}, lambda f: configure(f, target_modules=["q_proj"]), "which target_modules in adapter_config"),
    "a rank that is none": ({}, lambda f: configure(f, rank_pattern={"q_proj": "4"}), "not a PEFT configuration (rank"),
    "a pattern that is none": ({}, lambda f: configure(f, alpha_pattern=["q_proj"]), "not a PEFT configuration"),
    "two adapters": (
        {},
        lambda f: change(f, lambda t: {k.replace(".weight", f".{n}.weight"): v for n in "ab" for k, v in t.items()}),
        "contains several adapters (a, b)",
    ),
    "wider than the model": (
        {},
        lambda f: change(f, lambda t: {k: torch.cat([v, v], 1) if "lora_A" in k else v for k, v in t.items()}),
        "pass adapters that were trained on this model",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_has_its_true_cause(plain: Any, tmp_path: Path, name: str) -> None:
    config, spoil, says = REFUSED[name]
    folder = made(plain, tmp_path / "ann", **config)
    spoil(folder)
    with pytest.raises(UserError) as caught:
        read(plain, folder)
    assert says in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_peft_does_not_know_is_said(plain: Any, tmp_path: Path) -> None:
    folder = made(plain, tmp_path / "ann")
    configure(folder, use_some_future_variant=True, enable_lora=None)
    (note,) = (n for n in read(plain, folder)[0].notes if "does not know" in n)
    assert "'use_some_future_variant'" in note
    assert "enable_lora" not in note
