"""Tiny random models of makes that differ from a plain Llama in one way each, as ``model_folder`` makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_SEES = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}


def _gpt2(s: dict[str, Any]) -> Any:
    import transformers as hf

    ids = {key: s[key] for key in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")}
    return hf.GPT2LMHeadModel(
        hf.GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=160, initializer_range=0.2, **ids)
    )


def _gemma3(s: dict[str, Any]) -> Any:
    import transformers as hf

    text = s | {"head_dim": 8, "sliding_window": 12}
    return hf.Gemma3ForConditionalGeneration(hf.Gemma3Config(text_config=text, vision_config=_SEES))


def _mistral3(s: dict[str, Any]) -> Any:
    import transformers as hf

    vision = _SEES | {"model_type": "pixtral", "head_dim": 16}
    text = s | {"head_dim": 8, "model_type": "mistral"}
    return hf.Mistral3ForConditionalGeneration(hf.Mistral3Config(text_config=text, vision_config=vision))


def _gemma3n(s: dict[str, Any]) -> Any:
    import transformers as hf

    own = {"num_hidden_layers": 4, "num_kv_shared_layers": 2, "intermediate_size": [48, 64, 48, 64]}
    own |= {"vocab_size_per_layer_input": s["vocab_size"], "hidden_size_per_layer_input": 8, "laurel_rank": 4}
    own |= {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 12, "head_dim": 8}
    own |= {"activation_sparsity_pattern": [0.0] * 4}
    return hf.Gemma3nForCausalLM(hf.Gemma3nTextConfig(**(s | own)))


def _gemma4(s: dict[str, Any]) -> Any:
    import transformers as hf

    own = {"head_dim": 8, "sliding_window": 12, "vocab_size_per_layer_input": s["vocab_size"]}
    return hf.Gemma4ForCausalLM(hf.Gemma4TextConfig(**(s | own)))


def _minimax(s: dict[str, Any]) -> Any:
    import transformers as hf

    return hf.MiniMaxForCausalLM(hf.MiniMaxConfig(**(s | {"num_local_experts": 4, "head_dim": 8})))


def _lfm2(s: dict[str, Any]) -> Any:
    import transformers as hf

    own = {"layer_types": ["conv", "full_attention", "conv"], "conv_L_cache": 3}
    return hf.Lfm2ForCausalLM(hf.Lfm2Config(**(s | own)))


def _qwen2moe(s: dict[str, Any]) -> Any:
    import transformers as hf

    return hf.Qwen2MoeForCausalLM(hf.Qwen2MoeConfig(**(s | _EXPERTS)))


@dataclass(frozen=True)
class Make:
    """One make, and the layers to adapt in it."""

    model: Callable[[dict[str, Any]], Any]
    """Common sizes → the model."""
    targets: tuple[str, ...] = ATTENTION


UNLIKE: Mapping[str, Make] = {
    "gpt2": Make(_gpt2, ("c_attn", "c_proj", "c_fc")),  # weights stored the other way round
    "gemma3-whole": Make(_gemma3),  # nested configuration; an encoder of images
    "mistral3-whole": Make(_mistral3),  # the same, and no class for text alone
    "gemma3n": Make(_gemma3n),  # widths as a list; layers that read other layers' keys
    "gemma4": Make(_gemma4),  # heads of different widths
    "minimax": Make(_minimax),  # a cache of its own
    "lfm2": Make(_lfm2, ("q_proj", "k_proj", "v_proj", "out_proj")),  # a cache of two kinds
    "qwen2moe": Make(_qwen2moe, (*ATTENTION, "gate_proj", "up_proj", "down_proj", "shared_expert_gate")),
}
