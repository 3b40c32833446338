"""Readers of adapters, merge weights, models' configurations, scores, plugins, and of words on the command line."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from prime_audit.engine import gguf_file
from prime_audit.engine.adapters import load_adapter, save_adapter
from prime_audit.engine.load import resolve_model
from prime_audit.engine.lora import Adapter
from prime_audit.engine.merge import _read_weights, _spread
from prime_audit.engine.privacy import parse_privacy
from prime_audit.engine.rules import merge_adapters
from prime_audit.errors import UserError
from prime_audit.io.adapter_files import CONFIG, WEIGHTS
from prime_audit.lamp.data import Dataset
from prime_audit.lamp.given import with_sharers
from prime_audit.lamp.world.world import world
from prime_audit.plan.config import read_config
from prime_audit.plan.plan import parse_methods
from prime_audit.plugins.loading import available, load_run_settings
from prime_audit.scores.report import describe_scores
from prime_audit.settings import load_settings

from .account import rows
from .attempt import Lost, Target
from .mutate import PART

_SITES = tuple(f"model.layers.{n}.self_attn.{p}_proj" for n in range(2) for p in "qv")
_ADAPTER = Adapter(
    _SITES, tuple(torch.ones(2, 3) for _ in _SITES), tuple(torch.ones(4, 2) for _ in _SITES), 1.0
)
_TENSORS = (
    b'"F32"',
    b'"F16"',
    b'"I64"',
    b'"BOOL"',
    b'"shape"',
    b'"data_offsets"',
    b"lora_A",
    b"layers.",
    b"\xc2\xb2",
)
_GIVEN = PART.join(
    (
        b'{"id": "a", "input": "the bridge opens", "output": "Bridge"}\n'
        b'{"text": "rain", "title": "Wet", "heldout": true}\n',
        b'{"id": "Ann", "profile": "likes bridges"}',
    )
)
_TOML = b"""methods = ["np", "prime:alpha=0.6"]
seed = 3
strict = true
[set]
clusters = 4
"lora.modules" = ["q_proj"]
"""
PLUGIN = b'''"""An attack."""
from prime_audit.plugins import attack
@attack(source="x", needs=("logprobs",), version=3)
def a(signals): return 1
'''


def _adapter(name: str) -> Callable[[bytes, Path], object]:
    def go(data: bytes, folder: Path) -> None:
        save_adapter(_ADAPTER, folder)
        (folder / name).write_bytes(data)
        found = load_adapter(folder)
        merge_adapters([found, found], torch.tensor([0.5, 0.5]), "factor")

    return go


def _scores(name: str, *, counted: bool = True) -> Callable[[bytes, Path], object]:
    def go(data: bytes, folder: Path) -> None:
        (folder / name).write_bytes(data)
        report = describe_scores(folder / name, draws=8)
        json.loads(report.to_json())
        report.rows()
        report.notes()
        if not counted:
            return
        found = sum(figures.n for figures in report.attacks)
        text = data.decode("utf-8-sig")
        if name.endswith(".csv"):  # within JSON a carriage return is white space
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        lines = text.split("\n")
        due = sum(bool(line.strip()) for line in lines) - name.endswith(".csv")
        # A quoted cell may hold line ends; no row may be without a line.
        assert found == due or (name.endswith(".csv") and b'"' in data and found < due), (found, due)

    return go


def _weights(data: bytes, folder: Path) -> None:
    (folder / "w.json").write_bytes(data)
    _spread(_read_weights(str(folder / "w.json"), 2), _ADAPTER)


@cache
def _world() -> Dataset:
    return world("LaMP-4", seed=0, users=3, adapt=1, targets=1)


def _sharer(data: bytes, folder: Path) -> None:
    items, _, card = data.partition(PART)
    home = folder / "ann"
    save_adapter(_ADAPTER, home)
    (home / "items.jsonl").write_bytes(items)
    (home / "sharer.json").write_bytes(card)
    before = _world()
    found = with_sharers(before, folder, None)
    assert found.given is not None
    (sharer,) = found.given.sharers
    new = found.defects[len(before.defects) :]
    kept, lost = len(sharer.user.history), sum(defect.action == "skipped" for defect in new)
    due = rows(home / "items.jsonl")
    if kept + lost != due or kept != len(sharer.trained) + len(sharer.heldout):
        raise Lost(f"{due} rows, {kept} kept, {lost} reported")


def _config(data: bytes, folder: Path) -> None:
    (folder / "c.toml").write_bytes(data)
    words = read_config(folder / "c.toml")
    load_run_settings(words.get("preset", "laptop"), words.get("overrides", ()))


def _words(ask: Callable[[str], object]) -> Callable[[bytes, Path], object]:
    def go(data: bytes, folder: Path) -> None:
        ask(data.decode("utf-8", "surrogateescape"))

    return go


def _methods(text: str) -> None:
    settings = load_settings("laptop")
    for spec in parse_methods(text):
        spec.values(settings, "LaMP-2")
        spec.augment(settings, "LaMP-2")


def _set(text: str) -> None:
    found = load_run_settings("laptop", [text])
    json.dumps({task: found.for_task(task) for task in ("LaMP-2", "LaMP-3")}, allow_nan=False)


def _plugin(data: bytes, folder: Path) -> None:
    (folder / "a.py").write_bytes(data)
    for kind in ("attack", "method"):
        available(kind, [folder / "a.py"])  # type: ignore[arg-type]


def _model(data: bytes, folder: Path) -> None:
    (folder / "config.json").write_bytes(data)
    resolve_model(str(folder))


def _gguf(data: bytes, folder: Path) -> None:
    (folder / "m.gguf").write_bytes(data)
    gguf_file.read(str(folder / "m.gguf"), UserError)


def _gguf_seed() -> bytes:
    """Write a GGUF file of one tensor by hand."""

    def text(word: str) -> bytes:
        return struct.pack("<Q", len(word)) + word.encode()

    pairs = (
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("llama.block_count") + struct.pack("<II", 4, 1),
        text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b"),
        text("tokenizer.ggml.scores") + struct.pack("<IIQff", 9, 6, 2, 0.5, 0.25),
    )
    tensor = text("token_embd.weight") + struct.pack("<IQQIQ", 2, 2, 2, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs)) + b"".join(pairs) + tensor
    return head + bytes(-len(head) % 32) + struct.pack("<4f", 1, 2, 3, 4)


def _scores_seeds() -> tuple[bytes, bytes]:
    rows = [(a, t, f"s{n % 3}", f"i{n}", n % 2, n / 7) for a in "ab" for t in ("t", "u") for n in range(6)]
    names = ("attack", "target", "sharer", "item", "member", "score")
    lines = [",".join(map(str, row)) for row in rows]
    objects = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
    return "\n".join([",".join(names), *lines]).encode(), "\n".join(objects).encode()


def _scores_tables() -> tuple[bytes, ...]:
    """Write the same scores as tab-separated text, with semicolons and decimal commas, as a JSON list, as Parquet."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    table, lines = _scores_seeds()
    rows = [json.loads(line) for line in lines.splitlines()]
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    commas = table.replace(b",", b";").replace(b".", b",")
    return table.replace(b",", b"\t"), commas, json.dumps(rows).encode(), stream.getvalue()


def targets(folder: Path) -> list[Target]:
    """Return them all; ``folder`` is for making their seeds."""
    save_adapter(_ADAPTER, folder / "adapter")
    config, weights = ((folder / "adapter" / name).read_bytes() for name in (CONFIG, WEIGHTS))
    table, lines = _scores_seeds()
    tabs, commas, listed, parquet = _scores_tables()
    patterns = json.loads(config) | {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {".*v_proj": 3, "^x": 1}}
    sets = (b"clusters=10", b"LaMP-2.sharer.lr=1e-4", b"prime.alpha=0.6", b"lora.modules=q_proj+v_proj")
    methods = (b"np,rag,prime:alpha=0.6,k=3+rag:k=2", b"soup+pag,perpcs:n_sim=0,dare:elect=true")
    return [
        Target(CONFIG, (config,), _adapter(CONFIG), (b'"r"', b'"lora_alpha"', b'"peft_type"')),
        Target(WEIGHTS, (weights,), _adapter(WEIGHTS), _TENSORS),
        Target("merge weights", (b"[0.5, 0.3]", b"[[1, 2], [3, 4]]"), _weights),
        Target(
            "config.json", (b'{"model_type": "llama", "vocab_size": 9}',), _model, (b"_attn_implementation",)
        ),
        Target("model.gguf", (_gguf_seed(),), _gguf, (b"general.type", b"split.count", b"\xff" * 8)),
        Target("scores.csv", (table,), _scores("s.csv"), (b"score", b"member", b",,", b"inf", b"nan")),
        Target("scores.tsv", (tabs,), _scores("s.TSV", counted=False), (b"\t", b"score", b"1e5")),
        Target(
            "scores;csv", (commas,), _scores("s.csv", counted=False), (b";", b"0,5", b"1,000", b"sep=;\n")
        ),
        Target("scores.json", (listed,), _scores("s.json", counted=False), (b'"score"', b"[", b'"data"')),
        Target("scores.parquet", (parquet,), _scores("s.parquet", counted=False), (b"PAR1", b"score")),
        Target(
            "adapter patterns",
            (json.dumps(patterns).encode(),),
            _adapter(CONFIG),
            (b'"rank_pattern"', b'"alpha_pattern"', b".*", b"(a+)+$", b"use_rslora"),
        ),
        Target("scores.jsonl", (lines,), _scores("s.jsonl"), (b'"score"', b'"member"', b'"game": "heldout"')),
        Target(
            "plugin file", (PLUGIN,), _plugin, (b"@method(", b"version=", b"\x0c", b"# coding: latin-1\n")
        ),
        Target("sharer", (_GIVEN,), _sharer, (b'"heldout": true', b'"id"', b'"text"', b'"title"', b'"user"')),
        Target("config.toml", (_TOML,), _config, (b"[set]", b"seed = ", b"[[", b"true", b"lora.rank")),
        Target("--methods", methods, _words(_methods), (b"+rag", b":k=", b",", b"=")),
        Target("--set", sets, _words(_set), (b"=", b"LaMP-3.", b"NaN", b"1e999")),
        Target(
            "--sharer-dp",
            (b"epsilon=8,delta=1e-5,clip=1",),
            _words(lambda t: parse_privacy(t, "--sharer-dp")),
        ),
    ]
