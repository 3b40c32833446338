"""What the engine is checked against: the same quantities by plain PEFT, transformers and torch, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.engine import Engine
from prime_audit.engine.load import load_base
from prime_audit.engine.lora import Adapter
from tests.makes import UNLIKE

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
FUSED = ("qkv_proj", "o_proj")
"""Phi-3's."""
NAMES = ("ann", "bob", "cem", "dot")
RANK, ALPHA = 4, 8
CUDA = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=CUDA)])
def device(request: pytest.FixtureRequest) -> str:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return str(request.param)


@dataclass
class Plain:
    """One model folder seen without the engine: no batches, no bank, no hooks of ours."""

    folder: Path
    device: str
    adapters: Mapping[str, Adapter]

    def __post_init__(self) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(self.folder)
        self.sites = next(iter(self.adapters.values())).sites

    def model(self) -> Any:
        known = AutoConfig.from_pretrained(self.folder).model_type != "mistral3"
        auto = AutoModelForCausalLM if known else AutoModelForImageTextToText
        return auto.from_pretrained(self.folder, dtype=torch.float32).to(self.device).eval()

    def peft(self, names: Sequence[str] = NAMES, dropout: float = 0.0) -> Any:
        """Build a PEFT model that holds these adapters, their factors copied in."""
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            r=RANK,
            lora_alpha=ALPHA,
            lora_dropout=dropout,
            target_modules=list(self.sites),
            task_type="CAUSAL_LM",
        )
        model = get_peft_model(self.model(), config, adapter_name=names[0])
        for name in names[1:]:
            model.add_adapter(name, config)
        with torch.no_grad():
            for name in names:
                for site, a, b in zip(self.sites, self.adapters[name].A, self.adapters[name].B, strict=True):
                    layer = model.base_model.model.get_submodule(site)
                    layer.lora_A[name].weight.copy_(a)
                    layer.lora_B[name].weight.copy_(b)
        return model

    def merged(self, delta: Callable[[int], Tensor]) -> Any:
        """Build the bare model with ``delta(site)`` added to each Linear weight."""
        model = self.model()
        with torch.no_grad():
            for i, site in enumerate(self.sites):
                model.get_submodule(site).weight.add_(delta(i).to(self.device))
        return model

    def soup(self, names: Sequence[str], weights: np.ndarray, rule: str) -> Any:
        """Merge by hand: ``weights`` [sites, k]; ``delta`` Σ w B A, ``factor`` (Σ w B)(Σ w A), times alpha / r."""

        def delta(i: int) -> Tensor:
            pairs = [(float(w), self.adapters[n]) for w, n in zip(weights[i], names, strict=True)]
            total = {
                "delta": sum(w * (o.B[i].double() @ o.A[i].double()) for w, o in pairs),
                "factor": sum(w * o.B[i].double() for w, o in pairs)
                @ sum(w * o.A[i].double() for w, o in pairs),
            }[rule]
            return (total * ALPHA / RANK).float()

        return self.merged(delta)

    def split(self, prompt: str, gold: str) -> tuple[list[int], list[int]]:
        """Ids of the prompt, and of its gold with end-of-text (these tokenizers never merge across a space)."""
        head = self.tokenizer(prompt)["input_ids"]
        tail = self.tokenizer(" " + gold, add_special_tokens=False)["input_ids"]
        return head, [*tail, self.tokenizer.eos_token_id]

    def gold_logp(self, model: Any, prompt: str, gold: str) -> Tensor:
        """Log-probabilities of the gold tokens from one unpadded forward pass over all logits; differentiable."""
        head, tail = self.split(prompt, gold)
        forget(model)
        logits = model(input_ids=torch.tensor([head + tail], device=self.device), use_cache=False).logits[0]
        places = range(len(head) - 1, len(head) + len(tail) - 1)
        return torch.stack(
            [torch.log_softmax(logits[t], -1)[tok] for t, tok in zip(places, tail, strict=True)]
        )

    @torch.no_grad()
    def score(self, model: Any, pairs: Sequence[tuple[str, str]]) -> list[np.ndarray]:
        return [self.gold_logp(model, p, g).double().cpu().numpy() for p, g in pairs]


def forget(model: Any) -> None:
    """Put a rotation that depends on earlier texts (dynamic NTK) back to a fresh model's."""
    for module in model.modules():
        if hasattr(module, "original_inv_freq") and hasattr(module, "original_max_seq_len"):
            module.inv_freq.copy_(module.original_inv_freq)
            module.max_seq_len_cached = module.original_max_seq_len


@dataclass
class Bench:
    """The engine over a folder, and the same folder seen plainly."""

    engine: Engine
    plain: Plain


@pytest.fixture
def bench(device: str, model_folder: Callable[[str], Path]) -> Callable[..., Bench]:
    """Kind of model → engine whose bank holds four random adapters (rank 4, alpha 8), and its plain twin."""

    def make(kind: str = "llama", **options: Any) -> Bench:
        folder = model_folder(kind)
        targets = UNLIKE[kind].targets if kind in UNLIKE else FUSED if kind.startswith("phi3") else TARGETS
        base = load_base(str(folder), targets=targets, device=device, dtype="float32", **options)
        noise = torch.Generator().manual_seed(7)
        sites = tuple(site.name for site in base.sites)
        adapters = {
            name: Adapter(
                sites,
                tuple(0.1 * torch.randn(RANK, site.d_in, generator=noise) for site in base.sites),
                tuple(0.1 * torch.randn(site.d_out, RANK, generator=noise) for site in base.sites),
                ALPHA / RANK,
            )
            for name in NAMES
        }
        engine = Engine(base=base, bank=AdapterBank(base))
        engine.bank.add(adapters)
        return Bench(engine, Plain(folder, device, adapters))

    return make


@pytest.fixture
def pairs() -> list[tuple[str, str]]:
    """(prompt, gold) of quite unequal lengths."""
    return [
        ("Tag:", "fantasy"),
        ("Generate a headline for the following article: the council met on Monday. Headline:", "new bridge"),
        (
            "Which tag does this movie relate to? Description: a knight rides out. Tag:",
            "the lost star and the cat",
        ),
        ("Review: It broke after two days. Score:", "1"),
        ("Paraphrase the following tweet: rain again, so no football; the kettle is on:", "rain, tea, cat"),
    ]


def worst(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    """Largest absolute difference over all rows; the shapes must agree."""
    assert [o.shape for o in ours] == [t.shape for t in theirs]
    return max(float(np.abs(o - t).max()) for o, t in zip(ours, theirs, strict=True))


@pytest.fixture(name="worst")
def worst_fixture() -> Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], float]:
    return worst
