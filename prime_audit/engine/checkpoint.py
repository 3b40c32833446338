"""What a checkpoint must hold: every weight that its configuration asks for, as plain numbers, of a causal model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prime_audit.engine import gguf_file
from prime_audit.engine.hub import advice, is_gguf, pinned
from prime_audit.errors import UserError, first_line_of

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_AFTERWARDS = "bitsandbytes"
"""The method that transformers dequantises once the weights are read."""
_WHILE_READING = {"fp8": "", "mxfp4": "", "compressed-tensors": "compressed-tensors"}
"""Methods that transformers dequantises while it reads the files, and the package that it needs for that."""
_WRAPPERS = {
    "_orig_mod.": "of torch.compile; save model._orig_mod",
    "base_model.model.": "of PEFT; call merge_and_unload() on it and save the result",
    "module.": "of data-parallel training; save model.module",
    "_fsdp_wrapped_module.": "of FSDP; gather the full weights and save the model itself",
}
"""What keys start with that were saved from a wrapper, and what to do."""
_WEIGHT_SCALES = re.compile(
    r"\.(weight_(scale|zero_point|packed|shape)\w*|SCB|scales|qzeros|qweight|g_idx|weight\.(absmax|quant|nested)\w*)(\.|$)"
)
"""Keys without which a quantised weight is not the weight."""
_KINDS = (
    ("LoRA weights that were never merged", re.compile(r"lora_|ia3_|\.adapters?\.")),
    ("quantisation scales", re.compile(r"scale|zero_point")),
    ("biases that config.json switches off", re.compile(r"bias$")),
    ("other tensors", re.compile("")),
)
"""Kinds of tensors that a model has no place for."""


@dataclass(frozen=True)
class Source:
    """A model as the user named it."""

    role: str
    """What it is for: model, encoder or profiler."""
    name: str
    place: str
    """A folder, a GGUF file or a hub id, with an optional ``@revision``."""

    def fault(self, text: str) -> UserError:
        """Make the one line for this model."""
        return UserError(f"{self.role} {self.name}: {text}")

    @property
    def title(self) -> str:
        """Name it in warnings, which are published: no folder."""
        return "the base model" if self.role == "model" else f"the {self.role}"


@dataclass(frozen=True)
class Opened:
    """A model that was loaded and checked."""

    model: Any
    notes: tuple[str, ...]
    """Warnings for whoever reads its results."""
    header: gguf_file.Header | None
    """Of its GGUF file, if it is one."""


def open_model(
    source: Source, dtype: torch.dtype, device: str, *, auto: Any = None, plain: bool = True
) -> Opened:
    """Load a model onto ``device``; ``plain``: its Linear layers must hold true weights.

    ``auto`` is the class of transformers that loads it; None: the one for causal language models of its architecture.

    Quantised weights are dequantised to ``dtype`` where transformers can. Raises UserError where files are missing or
    damaged, weights are missing or have other shapes, and where weights cannot be dequantised.
    """
    from transformers import AutoConfig

    header = gguf_file.read(source.place, source.fault) if is_gguf(source.place) else None
    config = from_pretrained(AutoConfig, source)
    auto = auto or _causal_class(config, source)
    method, options = _method(config), dict[str, Any]()
    if header is not None:
        gguf_file.require_small(auto, config, header.elements, source.fault)
        method, options = header.quantised, gguf_file.unpacking()
    elif method and plain:
        options = _dequantising(config, method, device, source)
    elif method:
        options = {"device_map": {"": device}}
    model, info = from_pretrained(
        auto, source, config=config, dtype=dtype, output_loading_info=True,
        ignore_mismatched_sizes=True, **options,
    )  # fmt: skip
    notes = [*(header.notes if header else ()), *_require_filled(model, info, source)]
    if plain:
        model = _plain(model, dtype, source)
    if method and plain:
        kind = str(dtype).removeprefix("torch.")
        notes.append(f"{source.title} is quantised ({method}): its weights were dequantised to {kind}")
    # Where it was placed while it was read, it may not be moved.
    return Opened(model if "device_map" in options else model.to(device), tuple(notes), header)


def _causal_class(config: Any, source: Source) -> Any:
    """Return transformers' class for causal models, or for images and text where an architecture has only that."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto import modeling_auto as known

    both = getattr(config, "is_encoder_decoder", False)
    if type(config) in known.MODEL_FOR_CAUSAL_LM_MAPPING and not both:
        return AutoModelForCausalLM
    if type(config) in known.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING and not both:
        return AutoModelForImageTextToText
    raise source.fault(
        f"{config.model_type} is {'an encoder-decoder' if both else 'not a causal language model'}; pass a decoder "
        "such as Llama, Mistral or Qwen"
    )


def from_pretrained(auto: Any, source: Source, **options: Any) -> Any:
    """Call ``auto.from_pretrained`` safely and turn every way it fails into one line."""
    name, more = pinned(source.place)
    if auto.__name__.startswith("AutoModel"):
        options["use_safetensors"] = True
    try:
        return auto.from_pretrained(name, trust_remote_code=False, **more, **options)
    except Exception as fault:  # the loaders raise a dozen types; all mean: this model cannot be used
        what_to_do = _convert(auto, source.place, fault) or advice(fault, source.place)
        raise source.fault(f"cannot be loaded: {first_line_of(fault)}{what_to_do}") from fault


def _convert(auto: Any, place: str, fault: Exception) -> str:
    """Explain how to convert weights that exist only as .bin; empty where that is not the problem."""
    folder = Path(place)
    bare = any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors"))
    lacking = not folder.is_dir() and "file named" in str(fault) and ".safetensors" in str(fault)
    if not (bare or lacking):
        return ""
    return (
        "; only safetensors files are read, a .bin file may contain code; if you trust it, convert it: python -c "
        f"\"from transformers import {auto.__name__} as M, AutoTokenizer as T; M.from_pretrained('{place}')"
        f".save_pretrained('NEW'); T.from_pretrained('{place}').save_pretrained('NEW')\", and pass the folder NEW"
    )


# -- every weight is there ---------------------------------------------------------------------------------------


def _require_filled(model: Any, info: dict[str, Any], source: Source) -> list[str]:
    """Refuse a model whose files lack weights (they would be random); note what they hold beyond it."""
    missing = sorted(k for k in info["missing_keys"] if not _unused(k, source))
    unexpected = sorted(k for k in info["unexpected_keys"] if not _head(k, model, source))
    if missing:
        raise source.fault(
            f"cannot be loaded: its files lack {len(missing)} of the tensors that config.json asks for "
            f"({_some(missing)}): they would be initialised at random; {_remedy(missing, unexpected, model)}"
        )
    if odd := sorted(info["mismatched_keys"]):
        key, held, wanted = odd[0]
        raise source.fault(
            f"cannot be loaded: {len(odd)} tensors have other shapes than config.json asks for (first: {key} is "
            f"{tuple(held)}, not {tuple(wanted)}); pass weights and config.json of one model"
        )
    if scales := [k for k in unexpected if _WEIGHT_SCALES.search(k)]:
        raise source.fault(
            f"cannot be loaded: its weights are quantised ({_some(scales)}), but config.json has no "
            "quantization_config for them; restore config.json, or pass the model before quantisation"
        )
    return _leftovers(unexpected, source)


def _unused(key: str, source: Source) -> bool:
    """Whether an encoder's weight has no part in the mean over tokens: a pooler's, a decoder's."""
    return source.role == "encoder" and ("pooler" in key.split(".") or key.startswith("decoder."))


def _head(key: str, model: Any, source: Source) -> bool:
    """Whether a tensor of an encoder's file belongs to a head, which embeddings do not need."""
    own = {name for name, _ in model.named_children()} | {model.base_model_prefix}
    return source.role == "encoder" and key.partition(".")[0] not in own


def _remedy(missing: Sequence[str], unexpected: Sequence[str], model: Any) -> str:
    for start, what in _WRAPPERS.items():
        if unexpected and all(key.startswith(start) for key in unexpected):
            return f"its keys start with {start}: it was saved from a wrapper {what}"
    if any(".base_layer." in key for key in unexpected):
        return f"its keys are those of a wrapper {_WRAPPERS['base_model.model.']}"
    saved = str((getattr(model.config, "architectures", None) or [""])[0])
    output = [name for name, module in model.named_modules() if module is model.get_output_embeddings()]
    if all(key.rpartition(".")[0] in output for key in missing):
        if saved and saved != type(model).__name__:
            return f"it was saved as {saved}, without this output layer: pass a causal language model"
        return "save the whole model, or set tie_word_embeddings in config.json if it shares its embedding"
    return "save the whole model again"


def _leftovers(unexpected: Sequence[str], source: Source) -> list[str]:
    """Describe tensors that the model has no place for, by kind."""
    kinds: dict[str, list[str]] = {}
    for key in unexpected:
        kinds.setdefault(next(kind for kind, rule in _KINDS if rule.search(key)), []).append(key)
    if not kinds:
        return []
    parts = "; ".join(f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in kinds.items())
    return [
        f"{source.title} has no place for {len(unexpected)} tensors of its files, which have no effect: {parts}"
    ]


def _some(keys: Sequence[str], most: int = 3) -> str:
    return f"first: {', '.join(keys[:most])}" if len(keys) > most else ", ".join(keys)


# -- every weight is the weight ----------------------------------------------------------------------------------


def _quantisation(config: Any) -> list[Any]:
    """Return what a configuration and that of its text part say of quantisation, if anything."""
    found = (getattr(part, "quantization_config", None) for part in (config, config.get_text_config()))
    return [how for how in found if how is not None]


def _method(config: Any) -> str:
    """Return how a model's weights are quantised, as its configuration says; empty where they are not."""
    for how in _quantisation(config):
        known = how if isinstance(how, dict) else how.to_dict()
        if known.get("load_in_8bit") or known.get("load_in_4bit"):
            return _AFTERWARDS
        method = known.get("quant_method")
        return str(getattr(method, "value", method) or "by an unknown method")[:60]
    return ""


def _dequantising(config: Any, method: str, device: str, source: Source) -> dict[str, Any]:
    """Return the options that make transformers dequantise; UserError where it cannot."""
    package = _AFTERWARDS if method == _AFTERWARDS else _WHILE_READING.get(method)
    if package is None:
        raise source.fault(
            f"its weights are quantised ({method}), and transformers cannot dequantise them, so no adapter can be "
            "added to them; pass the model before quantisation"
        )
    if package and not installed(package.replace("-", "_")):
        raise source.fault(
            f"its weights are quantised ({method}), and dequantising them needs a package: pip install {package}"
        )
    if method == _AFTERWARDS:
        return {"device_map": {"": device}}
    for how in _quantisation(config):
        if isinstance(how, dict):
            how["dequantize"] = True
        else:
            how.dequantize = True
    return {}


def _plain(model: Any, dtype: torch.dtype, source: Source) -> Any:
    """Dequantise what is still quantised; UserError where a weight is no plain number afterwards."""
    if getattr(model, "hf_quantizer", None) is not None:
        try:
            model = model.dequantize(dtype)
        except Exception as fault:
            raise source.fault(f"its weights cannot be dequantised: {first_line_of(fault)}") from fault
        # transformers leaves what was never quantised (embeddings, norms) in the format of the file.
        kept = {*(model._keep_in_fp32_modules or ()), *(model._keep_in_fp32_modules_strict or ())}
        for name, weight in model.named_parameters():
            if _is_number(weight) and kept.isdisjoint(name.split(".")):
                weight.data = weight.data.to(dtype)
    # Afterwards, whatever the method was: adapters are added to weights as numbers.
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Linear) and (type(weight) is not nn.Parameter or not _is_number(weight)):
            held = str(getattr(weight, "dtype", type(weight).__name__)).removeprefix("torch.")
            raise source.fault(
                f"the weights of {name} are codes ({held}), not numbers that an adapter can be added to; pass the "
                "model before quantisation"
            )
    return model


def _is_number(weight: nn.Parameter) -> bool:
    return weight.dtype in (*DTYPES.values(), torch.float64)


# -- it is a causal model, and its tokenizer's -------------------------------------------------------------------


@torch.inference_mode()
def require_causal(model: Any, source: Source) -> None:
    """Refuse a model whose logits depend on later tokens: two inputs of 6 tokens differ in the last one alone."""
    rows = model.get_input_embeddings().num_embeddings
    ids = torch.tensor([[(7 + 3 * i) % rows for i in range(6)]] * 2, device=model.device)
    ids[1, -1] = (ids[1, -1] + rows // 2) % rows
    try:
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    except Exception as fault:
        raise source.fault(f"cannot score text: {first_line_of(fault)}") from fault
    fine = {logits.dtype, model.dtype} <= {torch.float32, torch.float64}
    logits = logits.float()
    apart = float((logits[0] - logits[1]).abs().max())
    # Rounding differs by far less, coarsely in half formats. Not-a-number is no finding here.
    if apart > (1e-4 if fine else 0.02) * float(logits.std()):
        raise source.fault(
            f"its logits depend on later tokens ({model.config.model_type}): it is no causal language model; pass a "
            "decoder such as Llama, Mistral or Qwen, or pass this one as --encoder"
        )


def require_vocabulary(model: Any, tokenizer: Any, source: Source) -> None:
    """Refuse a tokenizer with ids beyond the embedding; special tokens may be, unless it adds them to every text."""
    try:
        rows = int(model.get_input_embeddings().num_embeddings)
    except (AttributeError, NotImplementedError):
        raise source.fault(
            f"has no embedding of tokens ({model.config.model_type}); pass a model of text"
        ) from None
    special = set(tokenizer.all_special_ids)
    added = getattr(tokenizer, "added_tokens_decoder", {})
    special |= {i for i, token in added.items() if getattr(token, "special", False)}
    special -= {*tokenizer("a")["input_ids"]}
    beyond = [i for i in tokenizer.get_vocab().values() if i >= rows and i not in special]
    if beyond:
        raise source.fault(
            f"its tokenizer has token ids up to {max(beyond)}, but its embedding has {rows} rows; pass the model's own "
            "tokenizer, or call resize_token_embeddings and save the model again"
        )


def installed(package: str) -> bool:
    """Whether a package can be imported."""
    from importlib.util import find_spec

    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # not even its parent
        return False
