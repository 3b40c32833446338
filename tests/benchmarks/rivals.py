"""The other sides: the released schedule, and what a user would write with PEFT and transformers today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from torch import Tensor
from transformers import get_scheduler

from prime_audit.engine.lora import Adapter
from prime_audit.engine.recipe import LoraShape, Recipe

NOBODY = 10**9
"""A token id that no model has: generation that is told to stop there never stops."""


def load_peft(plain: Any, folders: Mapping[str, Path]) -> Any:
    """Load all adapters beside one model."""
    names = list(folders)
    model = PeftModel.from_pretrained(plain, str(folders[names[0]]), adapter_name=names[0])
    for name in names[1:]:
        model.load_adapter(str(folders[name]), name)
    return model.eval()


def merge(model: Any, names: Sequence[str], weights: Sequence[float]) -> None:
    """Make the adapter ``mix``, Σ w B A: ``cat`` is PEFT's only exact way."""
    model.add_weighted_adapter(list(names), [float(w) for w in weights], "mix", combination_type="cat")
    model.set_adapter("mix")


def encode(tokenizer: Any, prompts: Sequence[str], device: torch.device) -> Any:
    """Tokenize a batch, padded on the left."""
    return tokenizer(
        list(prompts),
        padding=True,
        padding_side="left",
        return_tensors="pt",
        return_token_type_ids=False,
    ).to(device)


def texts(tokenizer: Any, rows: Tensor, stops: Sequence[int], most: int) -> list[str]:
    """Turn new tokens into answers, each cut at its end-of-text and at ``most`` tokens."""
    answers = []
    for row in rows[:, :most].tolist():
        end = next((i for i, token in enumerate(row) if token in stops), len(row))
        answers.append(tokenizer.decode(row[:end], skip_special_tokens=True).strip())
    return answers


@torch.inference_mode()
def released_candidate(
    model: Any,
    tokenizer: Any,
    adapters: Sequence[Adapter],
    weights: np.ndarray,
    prompts: Sequence[str],
    stops: Sequence[int],
    most: int = 100,
) -> list[str]:
    """Evaluate one candidate as the released code does.

    The adapters' factors are copied to the device and summed into one adapter. Prompts go in batches of 8 as they
    come; each batch decodes (longest - shortest prompt) + 100 steps, for Llama 2 never ends an answer early.
    """
    device = model.device
    for i, site in enumerate(adapters[0].sites):
        layer = model.base_model.model.get_submodule(site)
        for part, factors in (("lora_A", [a.A[i] for a in adapters]), ("lora_B", [a.B[i] for a in adapters])):
            summed = sum(float(w) * f.to(device) for w, f in zip(weights, factors, strict=True))
            getattr(layer, part)["mix"].weight.copy_(summed)
    answers = []
    for start in range(0, len(prompts), 8):
        batch = encode(tokenizer, prompts[start : start + 8], device)
        lengths = batch["attention_mask"].sum(1)
        steps = int(lengths.max() - lengths.min()) + most
        out = model.generate(
            **batch,
            do_sample=False,
            max_new_tokens=steps,
            eos_token_id=NOBODY,
            pad_token_id=tokenizer.pad_token_id,
        )
        answers += texts(tokenizer, out[:, batch["input_ids"].shape[1] :], stops, most)
    return answers


@torch.inference_mode()
def peft_candidate(
    model: Any,
    tokenizer: Any,
    names: Sequence[str],
    weights: np.ndarray,
    prompts: Sequence[str],
    stops: Sequence[int],
    most: int,
    batch_size: int,
) -> list[str]:
    """Evaluate one candidate as a user would: merge with PEFT, then ``generate`` on the whole history."""
    merge(model, names, weights.tolist())
    answers = []
    for start in range(0, len(prompts), batch_size):
        batch = encode(tokenizer, prompts[start : start + batch_size], model.device)
        out = model.generate(
            **batch,
            do_sample=False,
            max_new_tokens=most,
            eos_token_id=list(stops),
            pad_token_id=tokenizer.pad_token_id,
        )
        answers += texts(tokenizer, out[:, batch["input_ids"].shape[1] :], stops, most)
    model.delete_adapter("mix")
    return answers


def with_gold(tokenizer: Any, prompt: str, gold: str) -> tuple[list[int], int]:
    """Token ids of prompt, gold and end-of-text, and how many of them are the prompt's."""
    ids = tokenizer(f"{prompt} {gold}")["input_ids"]
    return [*ids, tokenizer.eos_token_id], len(tokenizer(prompt)["input_ids"])


def collate(rows: Sequence[tuple[list[int], int]], pad: int, device: torch.device) -> dict[str, Tensor]:
    """Pad a batch to its longest, on the right, with labels on the gold tokens alone."""
    width = max(len(ids) for ids, _ in rows)
    ids = [row + [pad] * (width - len(row)) for row, _ in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row, _ in rows]
    labels = [[-100] * n + row[n:] + [-100] * (width - len(row)) for row, n in rows]
    named = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {name: torch.tensor(values, device=device) for name, values in named.items()}


def peft_train(
    plain: Any,
    tokenizer: Any,
    examples: Sequence[tuple[str, str]],
    lora: LoraShape,
    recipe: Recipe,
    seed: int = 0,
    start: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Train one sharer's adapter; ``start`` (for checks) replaces the random factors to begin with."""
    torch.manual_seed(seed)
    model = get_peft_model(plain, _config(lora)).train()
    if start:
        model.load_state_dict({k: v.to(model.device) for k, v in start.items()}, strict=False)
    trained = [p for p in model.parameters() if p.requires_grad]
    rows = [with_gold(tokenizer, prompt, gold) for prompt, gold in examples]
    starts = range(0, len(rows), recipe.batch)
    optimizer = torch.optim.AdamW(trained, recipe.lr, betas=(0.9, 0.95), weight_decay=recipe.weight_decay)
    schedule = get_scheduler(recipe.schedule, optimizer, 0, recipe.epochs * len(starts))
    for _ in range(recipe.epochs):
        order = torch.randperm(len(rows)).tolist()
        for first in starts:
            batch = [rows[i] for i in order[first : first + recipe.batch]]
            model(**collate(batch, tokenizer.pad_token_id, model.device)).loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, recipe.clip)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    found = {name: t.detach().clone() for name, t in get_peft_model_state_dict(model).items()}
    model.unload()
    plain.eval()
    return found


def _config(lora: LoraShape) -> LoraConfig:
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        task_type="CAUSAL_LM",
    )


@torch.inference_mode()
def peft_scores(
    model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]], batch_size: int
) -> list[np.ndarray]:
    """Log-probabilities of each gold's tokens under the active adapter, in batches as they come."""
    found = []
    rows = [with_gold(tokenizer, prompt, gold) for prompt, gold in pairs]
    for start in range(0, len(rows), batch_size):
        batch = collate(rows[start : start + batch_size], tokenizer.pad_token_id, model.device)
        labels = batch.pop("labels")[:, 1:]
        logp = torch.log_softmax(model(**batch).logits[:, :-1].float(), -1)
        picked = logp.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
        found += [one[own >= 0].double().cpu().numpy() for one, own in zip(picked, labels, strict=True)]
    return found


def peft_module(
    model: Any,
    tokenizer: Any,
    names: Sequence[str],
    weights: np.ndarray,
    pairs: Sequence[tuple[str, str]],
    batch_size: int,
) -> list[np.ndarray]:
    """Score all items with one merged module, as a user would: merge, score, delete."""
    merge(model, names, weights.tolist())
    found = peft_scores(model, tokenizer, pairs, batch_size)
    model.delete_adapter("mix")
    return found
