"""Tiny random models in real Hugging Face folders: nothing is downloaded, nothing is taken from the package."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.makes import UNLIKE

# No property fails because the machine is busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

CORPUS = [
    "Which tag does this movie relate to? Description: a knight rides out to find the lost star. Tag: fantasy",
    "Generate a headline for the following article: the council met on Monday and voted for the new bridge.",
    "What is the score of the following review on a scale of 1 to 5? It broke after two days. Score: 1",
    "Paraphrase the following tweet: rain again, so no football; the kettle is on, and the cat is happy.",
]
WIDTH = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,  # grouped-query attention: k and v are narrower than q and o
    "max_position_embeddings": 160,
    "initializer_range": 0.2,  # wide enough that outputs differ from prompt to prompt
    "tie_word_embeddings": False,
}
_LONGROPE = {"short_factor": [1.0] * 4, "long_factor": [4.0, 5.0, 6.0, 7.0], "rope_type": "longrope"}
_LAYERS = ["sliding_attention", "sliding_attention", "full_attention"]
_CAPS = {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 5.0}
MAKES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "mistral": ("Mistral", {"sliding_window": 12}),  # shorter than the tests' prompts: the cache slides
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "gemma2": ("Gemma2", {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 512, **_CAPS}),
    "gemma2-slides": ("Gemma2", {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 12, **_CAPS}),
    "gemma3": ("Gemma3", {"head_dim": 16, "sliding_window": 512, "final_logit_softcapping": 5.0}),
    "gemma3-slides": (
        "Gemma3",
        {"head_dim": 16, "sliding_window": 12, "layer_types": _LAYERS},
    ),
    "phi3": ("Phi3", {"sliding_window": 2047}),
    "phi3-partial": (
        "Phi3",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}},
    ),
    "olmo2": ("Olmo2", {}),
    # Rotations that switch with the length of the text, at a length in the middle of the tests' texts.
    "phi3-longrope": (
        "Phi3",
        {
            "original_max_position_embeddings": 32,
            "rope_parameters": {
                "rope_theta": 10000.0,
                "original_max_position_embeddings": 32,
                **_LONGROPE,
            },
        },
    ),
    "llama-longrope": (
        "Llama",
        {
            "rope_parameters": {
                "rope_theta": 10000.0,
                "original_max_position_embeddings": 32,
                **_LONGROPE,
            }
        },
    ),
    "llama-dynamic": (
        "Llama",
        {
            "max_position_embeddings": 32,
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 5.0},
        },
    ),
}
"""Kind → transformers' name of the make, and what differs from ``WIDTH``."""


def _tokenizer(begin: bool) -> Any:
    """Byte-level BPE trained on four sentences; with begin-of-text and padding tokens, or (as Qwen) without."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    end = "</s>" if begin else "<|endoftext|>"
    special = ["<s>", end, "<pad>"] if begin else [end]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        CORPUS * 2, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    )
    names = {"eos_token": end}
    if begin:
        raw.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", raw.token_to_id("<s>"))]
        )
        names |= {"bos_token": "<s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=raw, **names)


def _model(kind: str, tokenizer: Any) -> Any:
    import torch
    import transformers as hf

    shape = WIDTH | {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(0)
    if kind in MAKES:
        name, options = MAKES[kind]
        text = "Text" if name == "Gemma3" else ""
        model = getattr(hf, f"{name}ForCausalLM")(getattr(hf, f"{name}{text}Config")(**shape | options))
        with torch.no_grad():
            for path, own in model.named_parameters():
                if path.endswith("_proj.bias"):  # trained Qwens have them; a fresh one starts at 0
                    own.normal_(std=0.2)
                elif path.endswith("norm.weight") and kind not in ("llama", "mistral", "qwen2"):
                    own.add_(torch.randn_like(own), alpha=0.2)  # a norm left out would show
        return model
    model = UNLIKE[kind].model(shape)
    with torch.no_grad():
        for _, weight in sorted(model.named_parameters()):
            if weight.ndim >= 2:  # wide enough, as above; some makes have their own way to begin
                weight.normal_(std=0.2)
    return model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Kind (of ``MAKES`` or ``UNLIKE``) → a folder with a tiny random model and tokenizer; made once."""

    @cache
    def make(kind: str) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        tokenizer = _tokenizer(begin=not kind.startswith("qwen"))
        _model(kind, tokenizer).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def llama_folder(model_folder: Callable[[str], Path]) -> Path:
    """Make a tiny random Llama with grouped-query attention, as ``--model DIR`` takes it."""
    return model_folder("llama")


SMALL = (
    "nonmember_items=0",
    *("clusters=4", "min_history=4", "last_items=3", "max_new=4", "lora.rank=2"),
    *("adaptation.epochs=1", "sharer.epochs=1", "gate.steps=2"),
    *("prime.budget=5", "prime.k=2", "perpcs.n_sim=2"),
)
"""Settings with which a run on ``small_data`` and ``llama_folder`` takes a second or two a task."""


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Return overrides (``KEY=VALUE``) for a run of seconds: 4 sharers, of whom 2 are merged."""
    return SMALL


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Task → a Per-Pcs folder with 2 adaptation users, 3 targets (2 questions each) and 7 candidates."""
    from prime_audit.lamp.world.world import write_world

    root = tmp_path_factory.mktemp("data")

    @cache
    def make(task: str) -> Path:
        sizes = {"users": 12, "adapt": 2, "targets": 3, "history": (6, 7), "queries": 2, "clusters": 3}
        return write_world(task, root, **sizes)

    return make


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Models this small are slower on two threads, and far slower beside other processes."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make what a command says independent of what else this machine does."""
    import psutil

    still = psutil.cpu_times()
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0), raising=False)
    monkeypatch.setattr(psutil, "cpu_times", lambda: still)


@pytest.fixture
def quick(
    small_data: Callable[[str], Path], small: Sequence[str], llama_folder: Path, tmp_path: Path
) -> Callable[..., Any]:
    """Run on a tiny random Llama with grouped-query attention: words of ``compare`` → the run."""
    from prime_audit import compare

    def go(methods: str, *, task: str = "LaMP-4", sets: Sequence[str] = (), **words: Any) -> Any:
        words = {"out": tmp_path / "run", "cache": None, "model": str(llama_folder)} | words
        data = str(small_data(task))
        return compare(methods, tasks=task, data=data, overrides=[*small, *sets], quiet=True, **words)

    return go


@pytest.fixture(scope="session")
def content() -> Callable[[Any], dict[str, Any]]:
    """Return a function: a run → its ``record.json`` without the times."""

    def read(run: Any) -> dict[str, Any]:
        record = json.loads((run.path / "record.json").read_text(encoding="utf-8"))
        record.pop("times")
        return dict(record)

    return read


@dataclass(frozen=True)
class Said:
    """What a command printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Words → what ``prime-audit`` with these words prints, in this process, through the real entry point."""
    import sys

    from prime_audit.commands.cli import main

    def run(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["prime-audit", *map(str, words)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return run
