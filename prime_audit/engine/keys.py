"""Names in adapter files: which tensor is a LoRA factor of which module, and which module of a model that is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from prime_audit.engine.lora import NUMBER

PREFIX = "base_model.model."
"""What PEFT writes in front of a module's path."""
_FACTOR = re.compile(r"(?P<site>.+)\.lora_(?P<side>[AB])(?:\.(?P<adapter>[^.]+))?\.weight")
_FRONTS = frozenset({"base_model", "model", "language_model", "text_model", "transformer", "module"})
"""Parts in front of the layers by which text, multimodal and wrapped models differ."""
_COMPILED = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts that torch.compile, FSDP and activation checkpointing put anywhere into a path."""
_SEEING = re.compile(r"vision|visual|image|audio|speech|multi_modal_projector")
_ORDER = ("q_proj", "k_proj", "v_proj", "o_proj")
# Tensors that are no factor: part of the name → what it is and what to do. The first match counts.
_OTHERS: tuple[tuple[str, str], ...] = (
    (r"\.lora_embedding_[AB]", "a LoRA on an embedding: leave embed_tokens out of target_modules"),
    (
        r"\.base_layer\.weight$",
        "a weight that PEFT saves beside a LoRA on an embedding or output layer, outside the decoder layers: leave "
        "that layer out of target_modules",
    ),
    (r"lora_magnitude_vector", "a magnitude of DoRA: train with use_dora=False"),
    (r"\.lora_[AB](\.[^.]+)?\.bias$", "a trained bias: train with lora_bias=False"),
    (r"\.(hada_|lokr_)", "a factor of LoHa or LoKr: convert the adapter with peft.save_as_lora"),
    (r"\.(lora_E|ranknum)\b", "a part of AdaLoRA: train plain LoRA"),
    (r"vera_(lambda|[AB])", "a part of VeRA: convert the adapter with peft.save_as_lora"),
    (r"\.(ia3_l|oft_|boft_)|prompt_embeddings", "a part of another method than LoRA: train plain LoRA"),
    (
        r"token_adapter|trainable_tokens",
        "trained rows of an embedding: train without trainable_token_indices",
    ),
    (r"modules_to_save", "a module trained as a whole: train with modules_to_save=None"),
    (
        r"(embed|wte|lm_head|embed_out)[^.]*\.weight$",
        "the whole weight of an embedding or output layer: train without it in target_modules and modules_to_save; "
        "where it has not changed, save with save_embedding_layers=False",
    ),
    (r"\.bias$", 'a trained bias: train with bias="none"'),
)


def factors_of(keys: Iterable[str]) -> dict[tuple[str, str], str]:
    """Map (module, ``A`` or ``B``) to the tensor that has this factor.

    An adapter's name in the key (``lora_A.default.weight``) is left out, and so is what compilers and wrappers add.
    Raises ValueError where a tensor is no factor, or a factor occurs twice or alone.
    """
    keyed, adapters, others = dict[tuple[str, str], list[str]](), set[str](), list[str]()
    for key in sorted(keys):
        if match := _FACTOR.fullmatch(key):
            place = (_unwrapped(match["site"].removeprefix(PREFIX)), match["side"])
            keyed.setdefault(place, []).append(key)
            adapters.add(match["adapter"] or "without a name")
        else:
            others.append(key)
    if len(adapters) > 1:
        named = ", ".join(sorted(adapters))[:100]
        raise ValueError(f"contains several adapters ({named}); save each into its own folder")
    if others:
        raise ValueError(_explained(others))
    if not keyed:
        raise ValueError("contains no LoRA factors of Linear layers; pass a plain LoRA adapter")
    for (site, side), (key, *more) in keyed.items():
        other = "AB".replace(side, "")
        if more:
            raise ValueError(f"tensors {key!r} and {more[0]!r} are the same factor; save the adapter again")
        if (site, other) not in keyed:
            lacking = key.replace(f".lora_{side}.", f".lora_{other}.")
            raise ValueError(f"tensor {lacking!r} is missing; save the adapter again with PEFT")
    return {place: key for place, (key,) in keyed.items()}


def sites_of(found: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """List the modules of :func:`factors_of` in a model's forward order."""
    return tuple(sorted({site for site, _ in found}, key=forward_order))


def forward_order(site: str) -> tuple[list[int], int, str, str]:
    """Key that sorts modules by layer and projection."""
    numbers = [int(part) for part in site.split(".") if NUMBER.fullmatch(part)]
    leaf = leaf_of(site)
    return numbers, _ORDER.index(leaf) if leaf in _ORDER else len(_ORDER), leaf, site


def reads_text(site: str) -> bool:
    """Whether a module is by its name none of an encoder of images or sound."""
    return not _SEEING.search(site)


def leaf_of(site: str) -> str:
    """Last part of a module's path: ``q_proj``."""
    return site.rpartition(".")[2]


def core_of(site: str) -> str:
    """Path of a module without the parts in front of its layers: ``layers.0.self_attn.q_proj``."""
    parts = site.split(".")
    first = next((i for i, part in enumerate(parts) if NUMBER.fullmatch(part)), len(parts))
    return ".".join([*(p for p in parts[:first] if p not in _FRONTS), *parts[first:]])


def matched(sites: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Map an adapter's modules to a model's (``names``), by their own name or else by what follows the parts in front.

    A module that the model does not have is left out. Raises ValueError where two modules would be one of the model's,
    or one could be several.
    """
    own, cores = set(names), dict[str, list[str]]()
    for name in names:
        cores.setdefault(core_of(name), []).append(name)
    found, taken = dict[str, str](), dict[str, str]()
    for site in sites:
        fits = [site] if site in own else cores.get(core_of(site), [])
        if len(fits) > 1:
            raise ValueError(f"{site} could be {' or '.join(fits[:2])} of the model; rename its tensors")
        for name in fits:
            if name in taken:
                raise ValueError(f"{taken[name]} and {site} are both {name} of the model; keep one of them")
            found[site], taken[name] = name, site
    return found


def renamed(sites: Sequence[str], like: Sequence[str]) -> dict[str, str]:
    """Map an adapter's modules to the way in which another adapter (``like``) writes them."""
    known: Mapping[str, str] = {core_of(name): name for name in like}
    fronts = {name.removesuffix(core_of(name)) for name in like}
    front = fronts.pop() if len(fronts) == 1 else None
    return {s: known.get(core_of(s), s if front is None else front + core_of(s)) for s in sites}


def _unwrapped(site: str) -> str:
    return ".".join(part for part in site.split(".") if part not in _COMPILED)


def _explained(keys: Sequence[str]) -> str:
    """Say what the tensors are that are no factors, and what to do."""
    for pattern, what in _OTHERS:
        if key := next((key for key in keys if re.search(pattern, key)), None):
            return f"tensor {key[:200]!r} is no LoRA factor, but {what}"
    return f"tensor {keys[0][:200]!r} is no LoRA factor; pass a plain LoRA adapter"
