"""GGUF files of unknown origin: the header is read within bounds before any library opens the file."""

from __future__ import annotations

import hashlib
import math
import mmap
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from prime_audit.errors import first_line_of
from prime_audit.io import intake

INSTALL = "pip install 'prime-audit[gguf]'"
_SCALED = "its positions are scaled, which transformers does not read from GGUF; pass the model's Hugging Face folder"
_MOST = 4_000_000
"""Entries of all lists in a header: the readers need some hundred bytes for each."""
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9
_PLAIN = ("F32", "F16", "F64", "BF16")
"""Tensor types that are numbers, not blocks."""
_DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")
"""Ways to split text that are GPT-2's after each digit is split off; transformers leaves numbers whole."""
_SPLITS = ("default", "gpt-2", "phi-2", *_DIGITS)
"""Ways to split text that are known here, beside those that transformers has a rule for."""
_CHANGING = threading.RLock()
"""Held while other packages are changed: of two threads, the second would put back the change of the first."""


@dataclass(frozen=True)
class Header:
    """What is known of a GGUF file without reading its weights."""

    elements: int
    """Number of weights."""
    quantised: str
    """The commonest block type, such as Q4_1; empty where all weights are numbers."""
    splits_digits: bool
    """Whether its tokenizer splits numbers into digits."""
    notes: tuple[str, ...]
    """Warnings for whoever reads the model's results."""


def sha256(path: str) -> str:
    """Hash a file, read in parts."""
    digest = hashlib.sha256()
    with intake.open_file(Path(path)) as stream:
        while part := stream.read(1 << 22):
            digest.update(part)
    return digest.hexdigest()


def split_digits(tokenizer: Any) -> None:
    """Make a byte-level tokenizer split numbers into digits before it splits as GPT-2 does."""
    from tokenizers import pre_tokenizers as ways

    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = ways.Sequence(
        [ways.Digits(individual_digits=True), ways.ByteLevel(add_prefix_space=False)]
    )


def unpacking() -> dict[str, Any]:
    """Return the option that makes transformers unpack the blocks of a GGUF file, where it has one."""
    import transformers

    config = getattr(transformers, "GgufConfig", None)
    return {} if config is None else {"quantization_config": config(dequantize=True)}


def require_small(auto: Any, config: Any, elements: int, fault: Callable[[str], Exception]) -> None:
    """Refuse a GGUF file whose header asks for far more weights than it holds, before memory is taken for them."""
    import torch

    try:
        with torch.device("meta"):
            wanted = sum(p.numel() for p in auto.from_config(config).parameters())
    except Exception as problem:
        raise fault(f"cannot be loaded: {first_line_of(problem)}") from problem
    if wanted > 1.5 * elements + 1_000_000:
        raise fault(
            f"cannot be loaded: its header asks for {wanted} weights, and it holds {elements}; download it again"
        )


@contextmanager
def read_once() -> Iterator[None]:
    """Make transformers open a GGUF file once, and silently, while a model and its tokenizer are loaded.

    By the gguf package it reads the file for the configuration, the weights and the tokenizer, every string of the
    vocabulary each time, and it makes the same map of tensors' names for every module of the model. It has no switch
    for that, nor for its progress bar. In here the package returns the same reader and map again; both are only read.
    """
    if find_spec("gguf") is None:  # `read` says so
        yield
        return
    import gguf
    from transformers import modeling_gguf_pytorch_utils as loader

    with _CHANGING, ExitStack() as until:
        changes: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = (
            (gguf, "GGUFReader", lambda reader: cache(_plain(reader))),
            (gguf, "get_tensor_name_map", cache),
            (loader, "tqdm", lambda bar: partial(bar, disable=True)),
        )
        for module, name, change in changes:
            if (was := getattr(module, name, None)) is not None:
                until.callback(setattr, module, name, was)
                setattr(module, name, change(was))
        yield


def _plain(reader: Any) -> Any:
    """Derive a reader that holds the file as a plain array: a slice of numpy's memmap takes several times as long."""

    class Plain(reader):  # type: ignore[misc]
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, np.asarray(value) if name == "data" else value)

    return Plain


def read(path: str, fault: Callable[[str], Exception]) -> Header:
    """Read and check a header; ``fault`` makes the error where the file or a package is at fault."""
    if find_spec("gguf") is None:
        raise fault(f"reading a GGUF file needs a package: {INSTALL}")
    try:
        with _reading(path) as reader:
            return reader.header()
    except OSError as problem:
        raise fault(f"cannot be loaded: {problem.strerror or problem}") from None
    except (ValueError, struct.error, RecursionError) as problem:
        why = "it ends early" if isinstance(problem, struct.error) else problem
        raise fault(f"cannot be loaded: not a whole GGUF model ({why})") from None


def elements(path: str) -> int:
    """Count the weights that a file's header lists. Raises OSError, and ValueError where it is no whole model."""
    if find_spec("gguf") is None:
        raise ValueError(f"reading a GGUF file needs a package: {INSTALL}")
    with _reading(path) as reader:
        try:
            return reader.table()[2]
        except (struct.error, RecursionError) as problem:
            raise ValueError("it ends early") from problem


@contextmanager
def _reading(path: str) -> Iterator[_Reader]:
    with (
        intake.open_file(Path(path)) as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        yield _Reader(content)


class _Reader:
    def __init__(self, content: mmap.mmap) -> None:
        self.content, self.at, self.entries = content, 0, 0

    def header(self) -> Header:
        values, kinds, elements = self.table()
        blocks = {k: n for k, n in kinds.items() if k not in _PLAIN}
        method = max(blocks, key=lambda k: blocks[k], default="")
        return Header(elements, method, values.get("tokenizer.ggml.pre") in _DIGITS, _notes(values))

    def table(self) -> tuple[dict[str, Any], dict[str, int], int]:
        """Check and return the header's values, how many weights each type has, and all of them."""
        if self.content[:4] != b"GGUF":
            raise ValueError("it does not start with GGUF")
        self.at = 4
        version, tensors, pairs = self.numbers("IQQ")
        if version not in (2, 3):
            raise ValueError(f"version {version} is not 2 or 3")
        self.count(tensors + pairs)
        values = {self.text(): self.value(self.numbers("I")[0]) for _ in range(pairs)}
        _require_model(values, tensors)
        return values, *self.tensors(tensors, values.get("general.alignment", 32))

    def tensors(self, count: int, alignment: Any) -> tuple[dict[str, int], int]:
        """Check the tensors' table; return how many weights each type has, and all of them."""
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        if type(alignment) is not int or not 0 < alignment <= 1 << 20:
            raise ValueError("its alignment is no small number")
        kinds: dict[str, int] = {}
        ends = []
        for _ in range(count):
            name, dimensions = self.text(), self.numbers("I")[0]
            if not 1 <= dimensions <= 4:
                raise ValueError(f"tensor {name[:60]!a} has {dimensions} dimensions")
            *shape, kind, offset = self.numbers(f"{dimensions}QIQ")
            if name.startswith(("rope_freqs.", "rope_factors")):
                raise ValueError(_SCALED)
            try:
                kind = GGMLQuantizationType(kind)
            except ValueError:
                raise ValueError(f"tensor {name[:60]!a} has the unknown type {kind}") from None
            block, size = GGML_QUANT_SIZES[kind]
            elements = math.prod(shape)
            if shape[0] % block:
                raise ValueError(f"tensor {name[:60]!a} does not consist of whole blocks")
            ends.append((offset + elements // block * size, name))
            kinds[kind.name] = kinds.get(kind.name, 0) + elements
        start = -(-self.at // alignment) * alignment
        end, name = max(ends)
        if start + end > len(self.content):
            raise ValueError(f"it ends early: tensor {name[:60]!a} is not all there; download it again")
        return kinds, sum(kinds.values())

    def numbers(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self.content, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def text(self) -> str:
        size = self.numbers("Q")[0]
        if size > len(self.content) - self.at:
            raise ValueError("it ends early")
        self.at += size
        return self.content[self.at - size : self.at].decode()

    def count(self, more: int) -> None:
        self.entries += more
        if self.entries > _MOST:
            raise ValueError(f"its header has more than {_MOST} entries")

    def value(self, kind: int) -> Any:
        """Read a value; a list gives its length."""
        if kind == _TEXT:
            return self.text()
        if kind in _NUMBERS:
            return self.numbers(_NUMBERS[kind])[0]
        if kind != _LIST:
            raise ValueError(f"unknown type {kind} of a value")
        of, length = self.numbers("IQ")
        self.count(length)
        if of in _NUMBERS:
            size = length * struct.calcsize(f"<{_NUMBERS[of]}")
            if size > len(self.content) - self.at:
                raise ValueError("it ends early")
            self.at += size
        elif of == _TEXT:
            for _ in range(length):
                self.text()
        else:
            raise ValueError(f"a list of type {of}")
        return length


def _require_model(values: dict[str, Any], tensors: int) -> None:
    architecture = values.get("general.architecture")
    if not isinstance(architecture, str):
        raise ValueError("it does not name its architecture")
    if (kind := values.get("general.type", "model")) != "model":
        raise ValueError(f"it holds a GGUF {str(kind)[:20]!a}, no model")
    if values.get("split.count", 1) != 1:
        raise ValueError("it is one of several parts; join them with llama-gguf-split --merge")
    if not tensors or "tokenizer.ggml.tokens" not in values:
        raise ValueError("it holds no weights or no vocabulary")
    layers = values.get(f"{architecture}.block_count")
    if type(layers) is not int or not 0 < layers <= tensors:
        raise ValueError(f"{tensors} tensors cannot make {layers} layers")
    if architecture != "gpt-oss" and values.get(f"{architecture}.rope.scaling.type", "none") != "none":
        raise ValueError(_SCALED)


def _notes(values: dict[str, Any]) -> tuple[str, ...]:
    """Warn where transformers splits text in another way than the model was trained with."""
    way = str(values.get("tokenizer.ggml.pre", "default"))
    if values.get("tokenizer.ggml.model") != "gpt2" or way in _SPLITS or way in _known():
        return ()
    return (
        f"the GGUF file's way to split text ({way[:40]}) is unknown to transformers, which splits as GPT-2 does: "
        "some texts get other tokens than in training; a Hugging Face folder has the model's own tokenizer",
    )


def _known() -> Any:
    try:
        from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS
    except ImportError:
        return ()
    return GGUF_PRE_TOKENIZER_SPLITS
