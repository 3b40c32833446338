"""Bad files, as data: adapters, numbers of safetensors, scores, rows of plain items."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from .helpers import Make

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SITE = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
PEFT = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}


class Trap:
    """Unpickled, it writes a file: what no reader of ours may do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.write_text, (self.path, "unpickled")


def tensors(**changes: Any) -> dict[str, np.ndarray]:
    """Return the two factors of one site; ``A`` or ``B`` replaced."""
    factors = {"A": np.ones((2, 3), np.float32), "B": np.ones((4, 2), np.float32)} | changes
    return {SITE.format(name): value for name, value in factors.items()}


def adapter_at(folder: Path) -> Path:
    """Write a good adapter."""
    folder.mkdir()
    (folder / CONFIG).write_text(json.dumps(PEFT))
    (folder / WEIGHTS).write_bytes(save(tensors()))
    return folder


def raw(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """Write a safetensors file by hand: any header, any claim of its length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def claim(shape: object, start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    """Return one entry of a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def both(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Return the header of two factors."""
    return {SITE.format("A"): a, SITE.format("B"): b}


def weights(content: bytes | Callable[[], bytes]) -> Make:
    """Replace an adapter's numbers."""
    return lambda folder: (folder / WEIGHTS).write_bytes(content if isinstance(content, bytes) else content())


def config(content: bytes | dict[str, Any]) -> Make:
    """Replace an adapter's configuration, or some of its entries."""
    text = content if isinstance(content, bytes) else json.dumps(PEFT | content).encode()
    return lambda folder: (folder / CONFIG).write_bytes(text)


def trapped(folder: Path) -> None:
    """Put a pickle in the place of the numbers."""
    (folder / WEIGHTS).write_bytes(pickle.dumps(Trap(folder / "trap")))


def zipped(folder: Path) -> None:
    """Put what torch.save writes in the place of the numbers: an archive with a pickle in it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Trap(folder / "trap")))
    (folder / WEIGHTS).write_bytes(stream.getvalue())


GOOD_A, GOOD_B = claim([2, 3], 0, 24), claim([4, 2], 24, 56)
ADAPTERS: dict[str, tuple[Make, tuple[str, ...]]] = {
    "a pickle as safetensors": (
        trapped,
        (WEIGHTS, "cannot be read as safetensors", "save the adapter again"),
    ),
    "torch's archive as safetensors": (zipped, (WEIGHTS, "cannot be read as safetensors")),
    "no numbers": (weights(b""), (WEIGHTS, "cannot be read as safetensors")),
    "a header of 2^62 bytes": (weights(raw({}, b"", 1 << 62)), (WEIGHTS, "cannot be read as safetensors")),
    "a header longer than the file": (weights(raw({}, b"", 99)), (WEIGHTS, "cannot be read as safetensors")),
    "a header that is no JSON": (weights(raw(b"{]")), (WEIGHTS, "cannot be read as safetensors")),
    "a header of deep nesting": (weights(raw(b"[" * 9000)), (WEIGHTS, "cannot be read as safetensors")),
    "overlapping numbers": (
        weights(raw(both(GOOD_A, claim([4, 2], 0, 32)), bytes(56))),
        (WEIGHTS, "cannot be read as safetensors"),
    ),
    "numbers beyond the end": (
        weights(raw(both(GOOD_A, claim([4, 2], 24, 5600)), bytes(56))),
        (WEIGHTS, "cannot be read as safetensors"),
    ),
    "a negative shape": (
        weights(raw(both(claim([-2, -3], 0, 24), GOOD_B), bytes(56))),
        (WEIGHTS, "cannot be read as safetensors"),
    ),
    "a shape of 2^60 numbers": (
        weights(raw(both(claim([1 << 40, 1 << 20], 0, 24), GOOD_B), bytes(56))),
        (WEIGHTS, "cannot be read as safetensors"),
    ),
    "an unknown type of numbers": (
        weights(raw(both(claim([2, 3], 0, 24, "F99"), GOOD_B), bytes(56))),
        (WEIGHTS, "cannot be read as safetensors"),
    ),
    "whole numbers": (
        weights(lambda: save(tensors(A=np.ones((2, 3), np.int64)))),
        (WEIGHTS, "must be float matrices", "pass a plain LoRA adapter"),
    ),
    "a single number": (
        weights(lambda: save(tensors(A=np.array(1, np.float32)))),
        (WEIGHTS, "must be float matrices"),
    ),
    "a number that is none": (
        weights(lambda: save(tensors(B=np.full((4, 2), np.nan, np.float32)))),
        (WEIGHTS, "q_proj contains NaN or infinity", "retrain the adapter"),
    ),
    "another rank": (config({"r": 8}), (WEIGHTS, "do not have the rank 8 that adapter_config.json gives")),
    "a rank beyond all": (config({"r": 10**30}), (CONFIG, "not a PEFT configuration (r = 1000000")),
    "a rank of 5000 digits": (config(b'{"r": ' + b"9" * 5000 + b"}"), (CONFIG, "not a PEFT configuration")),
    "a rank that is true": (config({"r": True}), (CONFIG, "r = True")),
    "a rank that is text": (config({"r": "2"}), (CONFIG, "not a PEFT configuration")),
    "an alpha beyond all": (
        config(b'{"peft_type":"LORA","r":2,"lora_alpha":1e400}'),
        (CONFIG, "1e400 is too large"),
    ),
    "an alpha that is none": (config({"lora_alpha": float("nan")}), (CONFIG, "NaN is not JSON")),
    "a list for a configuration": (config(b"[1]"), (CONFIG, "not a PEFT configuration")),
    "deep nesting": (config(b"[" * 100_000), (CONFIG, "nested too deeply", "save the adapter again")),
    "a key twice": (config(b'{"r": 2, "r": 3}'), (CONFIG, "duplicate key 'r'")),
    "UTF-16": (config(json.dumps(PEFT).encode("utf-16")), (CONFIG, "not a PEFT configuration")),
    "another kind": (
        config({"peft_type": ["LORA"]}),
        (CONFIG, "is not supported: only LoRA adapters can be merged; pass a plain LoRA adapter"),
    ),
    "no configuration": (lambda f: (f / CONFIG).unlink(), ("no adapter_config.json", "save_pretrained")),
}

WORDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "too few": ("0.5", ("--weights 0.5: 2 adapters need 2 finite numbers",)),
    "beyond all": ("1e400,1", ("2 adapters need 2 finite numbers",)),
    "of 400 digits": ("9" * 400 + ",1", ("pass numbers such as 0.5,0.3",)),
    "nested without end": ("[" * 50_000, ("pass numbers such as 0.5,0.3",)),
    "ragged": ("[1,2],[3]", ("pass numbers such as 0.5,0.3",)),
    "text": ('"a","b"', ("pass numbers such as 0.5,0.3",)),
    "a file that is not there": ("none.json", ("none.json: cannot be read (No such file",)),
    "a device": ("/dev/full.json", ("cannot be read",)),
}

HEAD = "score,member\n"
SCORES: dict[str, tuple[str, bytes, tuple[str, ...]]] = {
    "no column": (
        "s.csv",
        b"value,member\n1,1\n",
        ("lacks score", "name the columns: --columns score=value"),
    ),
    "no row": ("s.csv", HEAD.encode(), ("holds no scores", "give one row an item")),
    "no number": (
        "s.csv",
        (HEAD + "1,1\nx,0\n").encode(),
        ("line 3", "score is not a number: 'x' (1 of 2 rows)"),
    ),
    "no membership": (
        "s.csv",
        (HEAD + "1,1\n2,perhaps\n").encode(),
        ("line 3: member is 'perhaps'; give 1 or 0",),
    ),
    "one side only": (
        "s.csv",
        (HEAD + "1,1\n2,1\n").encode(),
        ("all 2 items are members; an AUC needs both",),
    ),
    "a cell too many": (
        "s.csv",
        (HEAD + "1,1\n2,0,9\n").encode(),
        ("line 3: ", "cells under 2 columns"),
    ),
    "a cell too few": ("s.csv", (HEAD + "1,1\n2\n").encode(), ("line 3: ", "cells under 2 columns")),
    "a column twice": (
        "s.csv",
        b"score,member,score\n1,1,2\n",
        ("column 'score' appears twice; rename one",),
    ),
    "an open quote": (
        "s.csv",
        (HEAD + '1,1\n"2,0\n').encode(),
        ("damaged or truncated CSV", "fix line"),
    ),
    "a cell of 2 MiB": ("s.csv", (HEAD + "1," + "x" * (1 << 21)).encode(), ("line 2: member is 'xxx",)),
    "UTF-16 scores": ("s.csv", (HEAD + "1,1\n").encode("utf-16"), ("is UTF-16 text", "save it as UTF-8")),
    "a key twice in a row": (
        "s.jsonl",
        b'{"score": 1, "score": 2, "member": 1}',
        ("line 1: its key 'score' occurs twice",),
    ),
    "a score of 5000 digits": (
        "s.jsonl",
        b'{"member":1,"score":' + b"9" * 5000 + b"}",
        ("line 1: unreadable JSON (Exceeds",),
    ),
    "a score of 400 digits": (
        "s.jsonl",
        b'{"member":1,"score":' + b"9" * 400 + b'}\n{"member":0,"score":1}',
        ("line 1: score is not a number: 9999", "(1 of 2 rows)"),
    ),
    "a row without end": (
        "s.jsonl",
        b"[" * 100_000,
        ("line 1: unreadable JSON (maximum recursion", "fix line 1"),
    ),
    "a row that is a list": ("s.jsonl", b"[1, 0]", ("line 1: no JSON object; give one object a row",)),
    "scores that are not there": ("", b"", ("none.csv: no such file", "check the path")),
}
