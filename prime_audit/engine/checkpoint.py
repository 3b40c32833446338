"""What a checkpoint must hold: every weight that its configuration asks for, as plain numbers, of a causal model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prime_audit.engine import gguf_file
from prime_audit.engine.hub import advice, is_gguf, pinned
from prime_audit.errors import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_CAUSAL = ("llama", "mistral", "qwen2")
"""Makes whose attention is known to be causal: nothing is probed."""
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
class Asked:
    """A model as the user named it."""

    role: str
    """What it is for: model, encoder or profiler."""
    name: str
    source: str
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
    asked: Asked, dtype: torch.dtype, device: str, *, auto: Any = None, plain: bool = True
) -> Opened:
    """Load a model onto ``device``; ``plain``: its Linear layers must hold true weights.

    ``auto`` is the class of transformers that loads it; None: the one for the make's causal language models.

    Quantised weights are dequantised to ``dtype`` where transformers can. Raises UserError where files are missing or
    damaged, weights are missing or have other shapes, and where weights cannot be dequantised.
    """
    header = gguf_file.read(asked.source, asked.fault) if is_gguf(asked.source) else None
    config = _config(asked)
    auto = auto or _causal_class(config, asked)
    method, options = _method(config), dict[str, Any]()
    if header is not None:
        _require_small(auto, config, header.elements, asked)
        method, options = header.quantised, _unpacking()
    elif method and plain:
        options = _dequantising(config, method, device, asked)
    elif method:
        options = {"device_map": {"": device}}
    with _no_bar() if header else nullcontext():
        model, info = from_pretrained(
            auto, asked, config=config, dtype=dtype, output_loading_info=True,
            ignore_mismatched_sizes=True, **options,
        )  # fmt: skip
    notes = [*(header.notes if header else ()), *_require_filled(model, info, asked)]
    if plain:
        model = _plain(model, dtype, asked)
    if method and plain:
        kind = str(dtype).removeprefix("torch.")
        notes.append(f"{asked.title} is quantised ({method}): its weights were dequantised to {kind}")
    # Where it was placed while it was read, it may not be moved.
    return Opened(model if "device_map" in options else model.to(device), tuple(notes), header)


def _config(asked: Asked) -> Any:
    from transformers import AutoConfig

    config = from_pretrained(AutoConfig, asked)
    if asked.role != "encoder" and getattr(config, "is_encoder_decoder", False):
        raise asked.fault(
            f"{config.model_type} is an encoder-decoder, not a causal language model; pass a decoder such as Llama, "
            "Mistral or Qwen"
        )
    return config


def _causal_class(config: Any, asked: Asked) -> Any:
    """Return transformers' class for causal models, or for images and text where a make has only that."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto import modeling_auto as known

    if type(config) in known.MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    if type(config) in known.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoModelForImageTextToText
    raise asked.fault(
        f"{config.model_type} is no make of causal language models; pass a decoder such as Llama, Mistral or Qwen"
    )


def from_pretrained(auto: Any, asked: Asked, **options: Any) -> Any:
    """Call ``auto.from_pretrained`` safely and turn every way it fails into one line."""
    place, more = pinned(asked.source)
    if auto.__name__.startswith("AutoModel"):
        options["use_safetensors"] = True
    try:
        return auto.from_pretrained(place, trust_remote_code=False, **more, **options)
    except Exception as fault:  # the loaders raise a dozen types; all mean: this model cannot be used
        what_to_do = _convert(auto, asked.source, fault) or advice(fault, asked.source)
        raise asked.fault(f"cannot be loaded: {first_line(fault)}{what_to_do}") from fault


def _convert(auto: Any, source: str, fault: Exception) -> str:
    """Explain how to convert weights that exist only as .bin; empty where that is not the problem."""
    folder = Path(source)
    bare = any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors"))
    lacking = not folder.is_dir() and "file named" in str(fault) and ".safetensors" in str(fault)
    if not (bare or lacking):
        return ""
    return (
        "; only safetensors files are read, a .bin file may contain code; if you trust it, convert it: python -c "
        f"\"from transformers import {auto.__name__} as M, AutoTokenizer as T; M.from_pretrained('{source}')"
        f".save_pretrained('NEW'); T.from_pretrained('{source}').save_pretrained('NEW')\", and pass the folder NEW"
    )


def first_line(fault: Exception) -> str:
    """Return the first line of an error's text, or the error's type where there is none."""
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0][:300]


# -- every weight is there ---------------------------------------------------------------------------------------


def _require_filled(model: Any, info: dict[str, Any], asked: Asked) -> list[str]:
    """Refuse a model whose files lack weights (they would be random); note what they hold beyond it."""
    missing = sorted(k for k in info["missing_keys"] if not _unused(k, asked))
    unexpected = sorted(k for k in info["unexpected_keys"] if not _head(k, model, asked))
    if missing:
        raise asked.fault(
            f"cannot be loaded: its files lack {len(missing)} of the tensors that config.json asks for "
            f"({_some(missing)}), and random numbers would take their place; {_remedy(missing, unexpected, model)}"
        )
    if odd := sorted(info["mismatched_keys"]):
        key, held, wanted = odd[0]
        raise asked.fault(
            f"cannot be loaded: {len(odd)} tensors have other shapes than config.json asks for (first: {key} is "
            f"{tuple(held)}, not {tuple(wanted)}); pass weights and config.json of one model"
        )
    if scales := [k for k in unexpected if _WEIGHT_SCALES.search(k)]:
        raise asked.fault(
            f"cannot be loaded: its weights are quantised ({_some(scales)}), but config.json has no "
            "quantization_config for them; restore config.json, or pass the model before quantisation"
        )
    return _leftovers(unexpected, asked)


def _unused(key: str, asked: Asked) -> bool:
    """Whether an encoder's weight has no part in the mean over tokens: a pooler's, a decoder's."""
    return asked.role == "encoder" and ("pooler" in key.split(".") or key.startswith("decoder."))


def _head(key: str, model: Any, asked: Asked) -> bool:
    """Whether a tensor of an encoder's file belongs to a head, which embeddings do not need."""
    own = {name for name, _ in model.named_children()} | {model.base_model_prefix}
    return asked.role == "encoder" and key.partition(".")[0] not in own


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


def _leftovers(unexpected: Sequence[str], asked: Asked) -> list[str]:
    """Describe tensors that the model has no place for, by kind."""
    kinds: dict[str, list[str]] = {}
    for key in unexpected:
        kinds.setdefault(next(kind for kind, rule in _KINDS if rule.search(key)), []).append(key)
    if not kinds:
        return []
    parts = "; ".join(f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in kinds.items())
    return [
        f"{asked.title} has no place for {len(unexpected)} tensors of its files, which have no effect: {parts}"
    ]


def _some(keys: Sequence[str], most: int = 3) -> str:
    return f"first: {', '.join(keys[:most])}" if len(keys) > most else ", ".join(keys)


# -- every weight is the weight ----------------------------------------------------------------------------------


def _method(config: Any) -> str:
    """Return how a model's weights are quantised, as its configuration says; empty where they are not."""
    for part in (config, config.get_text_config()):
        how = getattr(part, "quantization_config", None)
        if how is None:
            continue
        known = how if isinstance(how, dict) else how.to_dict()
        if known.get("load_in_8bit") or known.get("load_in_4bit"):
            return _AFTERWARDS
        method = known.get("quant_method")
        return str(getattr(method, "value", method) or "by an unknown method")[:60]
    return ""


def _dequantising(config: Any, method: str, device: str, asked: Asked) -> dict[str, Any]:
    """Return the options that make transformers dequantise; UserError where it cannot."""
    package = _AFTERWARDS if method == _AFTERWARDS else _WHILE_READING.get(method)
    if package is None:
        raise asked.fault(
            f"its weights are quantised ({method}), and transformers cannot dequantise them, so no adapter can be "
            "added to them; pass the model before quantisation"
        )
    if package and not installed(package.replace("-", "_")):
        raise asked.fault(
            f"its weights are quantised ({method}), and dequantising them needs a package: pip install {package}"
        )
    if method == _AFTERWARDS:
        return {"device_map": {"": device}}
    for part in (config, config.get_text_config()):
        how = getattr(part, "quantization_config", None)
        if isinstance(how, dict):
            how["dequantize"] = True
        elif how is not None:
            how.dequantize = True
    return {}


def _plain(model: Any, dtype: torch.dtype, asked: Asked) -> Any:
    """Dequantise what is still quantised; UserError where a weight is no plain number afterwards."""
    if getattr(model, "hf_quantizer", None) is not None:
        try:
            model = model.dequantize(dtype)
        except Exception as fault:
            raise asked.fault(f"its weights cannot be dequantised: {first_line(fault)}") from fault
    # Afterwards, whatever the method was: adapters are added to weights as numbers.
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Linear) and (type(weight) is not nn.Parameter or not _is_number(weight)):
            held = str(getattr(weight, "dtype", type(weight).__name__)).removeprefix("torch.")
            raise asked.fault(
                f"the weights of {name} are codes ({held}), not numbers that an adapter can be added to; pass the "
                "model before quantisation"
            )
    return model


def _is_number(weight: nn.Parameter) -> bool:
    return weight.dtype in (*DTYPES.values(), torch.float64)


def _unpacking() -> dict[str, Any]:
    """Return the option that makes transformers unpack the blocks of a GGUF file, where it has one."""
    import transformers

    config = getattr(transformers, "GgufConfig", None)
    return {} if config is None else {"quantization_config": config(dequantize=True)}


def _require_small(auto: Any, config: Any, elements: int, asked: Asked) -> None:
    """Refuse a GGUF file whose header asks for far more weights than it holds, before memory is taken for them."""
    try:
        with torch.device("meta"):
            wanted = sum(p.numel() for p in auto.from_config(config).parameters())
    except Exception as fault:
        raise asked.fault(f"cannot be loaded: {first_line(fault)}") from fault
    if wanted > 1.5 * elements + 1_000_000:
        raise asked.fault(
            f"cannot be loaded: its header asks for {wanted} weights, and it holds {elements}; download it again"
        )


@contextmanager
def _no_bar() -> Iterator[None]:
    """Silence the progress bar of transformers' GGUF reader, which has no switch."""
    from transformers import modeling_gguf_pytorch_utils as reader

    bar = getattr(reader, "tqdm", None)
    if bar is None:
        yield
        return
    reader.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        reader.tqdm = bar


# -- it is a causal model, and its tokenizer's -------------------------------------------------------------------


@torch.inference_mode()
def require_causal(model: Any, asked: Asked) -> None:
    """Refuse a model whose logits depend on later tokens, by two short inputs that differ in the last token alone."""
    if model.config.model_type in _CAUSAL and getattr(model.config, "is_causal", True):
        return
    rows = model.get_input_embeddings().num_embeddings
    ids = torch.tensor([[(7 + 3 * i) % rows for i in range(6)]] * 2, device=model.device)
    ids[1, -1] = (ids[1, -1] + rows // 2) % rows
    try:
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    except Exception as fault:
        raise asked.fault(f"cannot score text: {first_line(fault)}") from fault
    apart = float((logits[0] - logits[1]).abs().max())
    if apart > 0.02 * float(logits.std()):  # rounding differs by far less; not-a-number is no finding here
        raise asked.fault(
            f"its logits depend on later tokens ({model.config.model_type}): it is no causal language model; pass a "
            "decoder such as Llama, Mistral or Qwen, or pass this one as --encoder"
        )


def require_vocabulary(model: Any, tokenizer: Any, asked: Asked) -> None:
    """Refuse a tokenizer with ids beyond the embedding; special tokens, which texts do not contain, may be."""
    rows = model.get_input_embeddings().num_embeddings
    special = set(tokenizer.all_special_ids)
    added = getattr(tokenizer, "added_tokens_decoder", {})
    special |= {i for i, token in added.items() if getattr(token, "special", False)}
    beyond = [i for i in tokenizer.get_vocab().values() if i >= rows and i not in special]
    if beyond:
        raise asked.fault(
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
