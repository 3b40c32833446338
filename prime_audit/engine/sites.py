"""The layers of a model that adapters go beside: Linear layers of its decoder layers, in its text part alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from prime_audit.engine.keys import leaf_of
from prime_audit.engine.lora import layer_of
from prime_audit.engine.shape import text_config
from prime_audit.errors import UserError

ATTENTION = ("attn", "attention", "mixer")
"""Parts of the names of modules that mix tokens: their Linear layers are what is commonly adapted."""
MOST = 8
"""Names of layers in a message."""


class NoModuleError(UserError):
    """The model has no layer of a name that is to be adapted."""


@dataclass(frozen=True)
class Site:
    """One adapted layer of the base model."""

    name: str
    """Its path in the model as transformers loads it, as in PEFT's keys: ``model.layers.0.self_attn.q_proj``."""
    layer: int
    d_in: int
    d_out: int


def adapted(model: nn.Module, targets: Sequence[str], name: str) -> tuple[list[Site], list[Any]]:
    """Find the layers whose names end in one of ``targets``, in the model's order; with their modules.

    UserError where a target is missing, with the names that this model has.
    """
    found = {path: module for path, module in _linears(model, name) if leaf_of(path) in targets}
    missing = [target for target in targets if target not in set(map(leaf_of, found))]
    if missing:
        raise NoModuleError(
            f"model {name}: no Linear layer named {', '.join(missing)} to adapt; {_hint(model, name)}"
        )
    sites = [Site(path, layer_of(path), *_widths(module)) for path, module in found.items()]
    return sites, list(found.values())


def aside(model: Any, name: str) -> frozenset[str]:
    """Name the Linear layers outside the text part, except the output layer: no text runs through them."""
    within, head = _text_part(model, name), model.get_output_embeddings()
    every = (
        p
        for p, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    )
    return frozenset(path for path in every if not path.startswith(within))


def like_weight(module: Any, update: Tensor) -> Tensor:
    """Turn an update [d_out, d_in] as the layer stores its weight: GPT-2's Conv1D stores [d_in, d_out]."""
    return update.T if isinstance(module, Conv1D) else update


def _widths(module: Any) -> tuple[int, int]:
    if isinstance(module, Conv1D):
        return int(module.nx), int(module.nf)
    return int(module.in_features), int(module.out_features)


def _linears(model: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the Linear layers within decoder layers; an encoder of images or sound has the same names inside."""
    others = aside(model, name)
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear | Conv1D) and path not in others and layer_of(path) >= 0:
            yield path, module


def _text_part(model: Any, name: str) -> str:
    """Return the path, with a dot, of the part that reads and writes text; empty: the whole model."""
    text = text_config(model.config)
    if text is model.config:
        return ""
    parts = {
        p: own for p, m in model.named_modules() if p and (own := getattr(m, "config", None)) is not None
    }
    same = [path for path, own in parts.items() if own is text]
    inside = same or [path for path, own in parts.items() if type(own) is type(text)]
    if not inside:
        raise UserError(f"model {name}: its text part cannot be found; pass a text-generation model")
    return f"{inside[0]}."


def _hint(model: nn.Module, name: str) -> str:
    """Say what this model has, most common first, and what to pass."""
    paths = [path for path, _ in _linears(model, name)]
    if not paths:
        return "its decoder layers have no Linear layers; pass another model"
    names = [leaf for leaf, _ in Counter(map(leaf_of, paths)).most_common(MOST)]
    mixing = [p for p in paths if any(word in p.rpartition(".")[0].lower() for word in ATTENTION)]
    common = [leaf for leaf, _ in Counter(map(leaf_of, mixing or paths)).most_common(4)]
    return f"this model has {', '.join(names)}; pass --set lora.modules={'+'.join(sorted(common))}"
