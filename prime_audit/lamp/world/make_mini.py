"""Rebuild the packaged model: ``python -m prime_audit.lamp.world.make_mini --out DIR``.

Trains a byte-level BPE and a small Llama from scratch on worlds with seeds of their own (``mini_corpus``). The same
seed and steps give the same file on the same machine with the same number of threads.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prime_audit.lamp.prompts import HISTORY_HEADING, PROFILE_HEADING
from prime_audit.lamp.world.mini_corpus import COMMON_WORDS, Document, documents
from prime_audit.lamp.world.world import SIMULATED

CONTEXT = 2048
"""Positions of the model."""
BOS, EOS, PAD = "<|bos|>", "<|eos|>", "<|pad|>"
SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
COMMON_TEXTS = [f"a {word}" for word in COMMON_WORDS] * 8
"""Each everyday word, after a space, often enough to become an entry of the vocabulary."""
TEXT, SHOWN, GOLD = 0.1, 0.3, 1.0
"""Weight in the loss of a prompt's tokens, of the golds in its history block, and of the gold."""
THIN = 5
"""One in so many prompt tokens enters the loss, so many times weighted; saves output-layer compute."""


@dataclass(frozen=True)
class Encoded:
    """One text to learn, encoded."""

    ids: NDArray[np.int64]
    """Begin, text, end: ``[tokens]``."""
    weights: NDArray[np.float32]
    """Weight of each token as a target of prediction, ``[tokens]``; the first has none."""


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE that encodes any text.

    The fixed headings and instructions of the prompts are single entries. They only identify the task; spelt out,
    they would be half of every prompt and its cost.
    """
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    heading = "### User Instruction:\n"
    sentences = [task.instruction.removeprefix(heading).partition("\n")[0] for task in SIMULATED.values()]
    fixed = [heading, PROFILE_HEADING, HISTORY_HEADING, *sentences]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(fixed),
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    raw.add_tokens([AddedToken(text, normalized=False) for text in fixed])
    raw.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, raw.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        # "<|eos|>" in a user's text is text, not the end of it.
        split_special_tokens=True,
        padding_side="left",
    )


def build_model(vocabulary: int, tokenizer: Any) -> LlamaForCausalLM:
    """Make the untrained model: grouped-query attention, rotary positions, tied embeddings."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **SHAPE,
    )
    return LlamaForCausalLM(config)


def encode(tokenizer: Any, docs: Sequence[Document]) -> list[Encoded]:
    """Encode documents, with each token's weight by its position in the text."""
    raw, encoded = tokenizer.backend_tokenizer, []
    for doc, code in zip(docs, raw.encode_batch([doc.text for doc in docs]), strict=True):
        weights = [0.0]
        for start, end in code.offsets[1:]:
            inside = any(low <= start and end <= high for low, high in doc.shown)
            weights.append(GOLD if end > doc.start else SHOWN if inside else TEXT)
        ids = np.array([*code.ids, tokenizer.eos_token_id], np.int64)
        encoded.append(Encoded(ids, np.array([*weights, GOLD], np.float32)))
    return encoded


def batches(sequences: Sequence[Encoded], tokens: int, rng: Random) -> Iterator[list[Encoded]]:
    """Yield batches of similar lengths, at most ``tokens`` with padding, for ever."""
    while True:
        order = rng.sample(range(len(sequences)), len(sequences))
        for at in range(0, len(order), 4096):
            chunk = sorted((sequences[i] for i in order[at : at + 4096]), key=lambda s: len(s.ids))
            packed, batch = [], list[Encoded]()
            for sequence in chunk:
                if batch and (len(batch) + 1) * len(sequence.ids) > tokens:
                    packed.append(batch)
                    batch = []
                batch.append(sequence)
            packed.append(batch)
            rng.shuffle(packed)
            yield from packed


def loss_of(model: LlamaForCausalLM, batch: Sequence[Encoded], pad: int, draw: torch.Generator) -> Tensor:
    """Weighted mean of the next-token losses; one in ``THIN`` of the prompts' tokens is drawn."""
    ids = pad_sequence([torch.from_numpy(s.ids) for s in batch], batch_first=True, padding_value=pad)
    weights = pad_sequence([torch.from_numpy(s.weights) for s in batch], batch_first=True)[:, 1:]
    prompt = weights == TEXT
    skipped = prompt & (torch.rand(weights.shape, generator=draw) > 1 / THIN)
    weights = weights.masked_fill(prompt, TEXT * THIN).masked_fill(skipped, 0.0)
    # Padding follows the text, so causal attention needs no mask.
    states = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    looked = weights > 0
    losses = torch.nn.functional.cross_entropy(
        model.lm_head(states[looked]), ids[:, 1:][looked], reduction="none"
    )
    total: Tensor = (losses * weights[looked]).sum() / weights[looked].sum()
    return total


def train(
    model: LlamaForCausalLM,
    sequences: Sequence[Encoded],
    *,
    steps: int,
    rate: float,
    tokens: int,
    pad: int,
    seed: int,
) -> None:
    """Train in place: AdamW, a short warm-up, cosine to a twentieth."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.05)
    stream, draw = batches(sequences, tokens, Random(seed)), torch.Generator().manual_seed(seed)
    model.train()
    started, shown = time.monotonic(), 0.0
    for step in range(steps):
        warm, done = min(1.0, (step + 1) / 100), step / steps
        for group in optimizer.param_groups:
            group["lr"] = rate * warm * (0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2)
        loss = loss_of(model, next(stream), pad, draw)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        shown = loss.item() if step == 0 else 0.98 * shown + 0.02 * loss.item()
        if (step + 1) % 100 == 0:
            print(
                f"step {step + 1}/{steps}  loss {shown:.3f}  {time.monotonic() - started:.0f} s", flush=True
            )


def save(model: LlamaForCausalLM, tokenizer: Any, out: Path) -> None:
    """Write the Hugging Face folder. Weights are in half precision and are read back as fp32."""
    out.mkdir(parents=True, exist_ok=True)
    model.eval()
    model.generation_config.max_new_tokens = 100
    model.half().save_pretrained(out)
    # Transformers loads in the type of the configuration: fp32, from half the bytes.
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    (out / "config.json").write_text(
        json.dumps({**config, "dtype": "float32"}, indent=2) + "\n", encoding="utf-8"
    )
    tokenizer.save_pretrained(out)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2200)
    parser.add_argument("--worlds", type=int, default=24, help="pretraining worlds per task")
    parser.add_argument("--vocabulary", type=int, default=3584)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--tokens", type=int, default=4096, help="tokens of a batch, padding included")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(argv)
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    started = time.monotonic()
    docs = list(documents(given.worlds, given.seed))
    tokenizer = train_tokenizer([*(doc.text for doc in docs[::5]), *COMMON_TEXTS], given.vocabulary)
    sequences = encode(tokenizer, docs)
    model = build_model(len(tokenizer), tokenizer)
    size = sum(p.numel() for p in model.parameters())
    mean = sum(len(s.ids) for s in sequences) / len(sequences)
    print(f"{len(docs)} texts of {mean:.0f} tokens, {size} parameters, {time.monotonic() - started:.0f} s")
    train(
        model,
        sequences,
        steps=given.steps,
        rate=given.rate,
        tokens=given.tokens,
        pad=tokenizer.pad_token_id,
        seed=given.seed,
    )
    save(model, tokenizer, given.out)


if __name__ == "__main__":
    main()
