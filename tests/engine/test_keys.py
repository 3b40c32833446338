"""Names in adapter files: which tensor is which factor, and which module of the model it belongs to."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prime_audit.engine.keys import core_of, factors_of, matched, sites_of

Q, V = "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.v_proj"


def keys(*sites: str, front: str = "base_model.model.", name: str = "") -> list[str]:
    return [f"{front}{site}.lora_{side}.{name}weight" for site in sites for side in "AB"]


@pytest.mark.parametrize(
    ("front", "name"), [("base_model.model.", ""), ("", ""), ("base_model.model.", "default."), ("", "x.")]
)
def test_factors_are_found_however_they_are_saved(front: str, name: str) -> None:
    found = factors_of(keys(V, Q, front=front, name=name))
    assert sites_of(found) == (Q, V)  # in forward order
    assert found[Q, "B"] == f"{front}{Q}.lora_B.{name}weight"


def test_what_compilers_add_is_left_out() -> None:
    assert sites_of(factors_of(keys(f"_orig_mod.{Q}"))) == (Q,)
    wrapped = "model.layers.0._checkpoint_wrapped_module.self_attn.q_proj"
    assert sites_of(factors_of(keys(wrapped))) == (Q,)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([*keys(Q, name="default."), *keys(V, name="other.")], "several adapters (default, other)"),
        ([*keys(Q), *keys(Q, front="")], "are the same factor"),
        (keys(Q)[:1], f"'base_model.model.{Q}.lora_B.weight' is missing"),
        ([], "contains no LoRA factors"),
        ([*keys(Q), f"base_model.model.{Q}.lora_magnitude_vector"], "a magnitude of DoRA"),
        ([*keys(Q), f"base_model.model.{Q}.lora_B.bias"], "lora_bias=False"),
        ([*keys(Q), "base_model.model.lm_head.weight"], "the whole weight of an embedding or output layer"),
        (
            [*keys(Q), "base_model.model.model.embed_tokens.base_layer.weight", "x.lora_embedding_A"],
            "a LoRA on an embedding",
        ),
        ([f"base_model.model.{Q}.hada_w1_a"], "LoHa"),
        ([*keys(Q), "something"], "pass a plain LoRA adapter"),
    ],
)  # fmt: skip
def test_what_is_no_factor_is_explained(names: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        factors_of(names)


FRONTS = (
    "",
    "model.",
    "model.language_model.",
    "language_model.model.",
    "base_model.model.model.",
    "transformer.",
)


@given(st.sampled_from(FRONTS), st.sampled_from(FRONTS), st.integers(0, 99))
def test_text_and_multimodal_names_are_one_module(theirs: str, ours: str, layer: int) -> None:
    tail = f"layers.{layer}.self_attn.q_proj"
    assert matched([theirs + tail], [ours + tail]) == {theirs + tail: ours + tail}


def test_a_tower_is_not_the_language_model() -> None:
    tower = "model.vision_tower.encoder.layers.0.self_attn.q_proj"
    for site in (tower, "decoder.layers.0.self_attn.q_proj", "model.layers.7.self_attn.q_proj"):
        assert matched([site], [Q, V]) == {}
    assert matched([tower, Q], [Q, tower]) == {tower: tower, Q: Q}  # unless the model adapts it by that name
    assert core_of(tower) == "vision_tower.encoder.layers.0.self_attn.q_proj"


def test_what_fits_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"could be .* or .* of the model"):
        matched(["layers.0.q"], ["model.layers.0.q", "language_model.layers.0.q"])
    with pytest.raises(ValueError, match=r"are both model\.layers\.0\.q"):
        matched(["layers.0.q", "language_model.layers.0.q"], ["model.layers.0.q"])
