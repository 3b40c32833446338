"""Text embeddings: mean over tokens of the last hidden states (Eq. 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from prime_audit.engine.base import Base, config_sha256
from prime_audit.engine.batches import Tick, batches, nothing
from prime_audit.engine.codec import Codec
from prime_audit.engine.finite import states_not_finite
from prime_audit.engine.load import from_pretrained, load_tokenizer, pick_device, resolve_model
from prime_audit.engine.lora import hash_of
from prime_audit.engine.memory import Fit
from prime_audit.engine.mixture import Spent
from prime_audit.engine.passes import Pass, Worker
from prime_audit.engine.rotations import positions, turn_rows_alone


class Encoder:
    """Mean-pooled hidden states of the base itself, or of a separate encoder model."""

    def __init__(
        self,
        body: Any,
        tokenizer: Any,
        *,
        limit: int = 512,
        batch_tokens: int = 16384,
        spent: Spent | None = None,
        identity: Callable[[], str] | None = None,
        name: str = "",
        **options: Any,
    ) -> None:
        self.body, self.tokenizer, self.limit, self.batch_tokens = body, tokenizer, limit, batch_tokens
        self.name = name
        self._turns = turn_rows_alone(body)
        self.spent = Spent() if spent is None else spent
        """Where its work is counted."""
        self._identity, self._options = identity, options
        self.fit = Fit("one embedded text")
        self.worker = Worker()

    @cached_property
    def sha256(self) -> str:
        """Hash of the model's own weights, configuration and tokens; see :meth:`content` for a base."""
        weights = hash_of(tensor for _, tensor in sorted(self.body.state_dict().items()))
        return f"{weights} {config_sha256(self.body.config)} {Codec(self.tokenizer, self.limit).content}"

    def content(self) -> tuple[str, int, int]:
        """Return all that decides an embedding, except the text."""
        return (self._identity() if self._identity else self.sha256), self.limit, self.batch_tokens

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], tick: Tick = nothing) -> np.ndarray:
        """Embed texts (first ``limit`` tokens): float64 [n, hidden]."""
        pad = self.tokenizer.pad_token_id or 0  # any token: the mask hides it
        # A text without tokens has no mean: use a padding token.
        rows = [
            self.tokenizer(t, truncation=True, max_length=self.limit)["input_ids"] or [pad] for t in texts
        ]
        self.spent.requests += len(rows)
        self.spent.prompt_tokens += sum(map(len, rows))
        out: list[np.ndarray] = [np.zeros(0)] * len(rows)

        def work(part: Sequence[int]) -> None:
            own = [rows[i] for i in part]
            size = len(own) * max(map(len, own))
            batch = Embed(
                partial(self._means, own, pad), [texts[i] for i in part], size, self.body.config.hidden_size
            )
            means = self.worker.do(batch)
            for i, mean in zip(part, means, strict=True):
                out[i] = mean
            tick(len(part))

        def length(i: int) -> int:
            return len(rows[i])

        for part in batches(range(len(rows)), group=lambda _: 0, length=length, tokens=self.batch_tokens):
            self.fit.run(work, part, length)
        return np.stack(out)

    def _means(self, rows: Sequence[list[int]], pad: int) -> np.ndarray:
        """Embed one batch: the mean over tokens of the last hidden states."""
        width, device = max(map(len, rows)), next(self.body.parameters()).device
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
        options = self._options
        if self._turns is not None:
            options = options | {"position_ids": positions(list(map(len, rows)), device)}
        states = self.body(input_ids=ids, attention_mask=mask, **options)[0]
        # A padding token's states do not count, finite or not.
        total = states.double().masked_fill(~mask.bool()[..., None], 0.0).sum(1)
        means: np.ndarray = (total / mask.sum(1, keepdim=True)).cpu().numpy()
        if not np.isfinite(means).all():
            raise states_not_finite(self.name, states.dtype)
        return means


@dataclass(frozen=True)
class Embed(Pass[np.ndarray]):
    """Embed one batch of texts: float64 [texts, hidden]."""

    texts: Sequence[str]
    tokens: int
    """Padded tokens."""
    hidden: int


def base_encoder(base: Base, limit: int = 512, batch_tokens: int = 16384) -> Encoder:
    """Use the base's own body, without the output layer and the key-value cache."""
    limit, body = min(limit, base.codec.context), base.model.base_model
    return Encoder(
        body,
        base.codec.tokenizer,
        limit=limit,
        batch_tokens=batch_tokens,
        spent=base.spent,
        identity=lambda: base.fingerprint,
        name=f"model {base.name}",
        use_cache=False,
    )


def load_encoder(
    model: str, device: str, limit: int = 512, batch_tokens: int = 16384, spent: Spent | None = None
) -> Encoder:
    """Load a Hugging Face encoder (folder or hub id), float32; its work is counted in ``spent``."""
    from transformers import AutoModel

    source = resolve_model(model)
    body = from_pretrained(AutoModel, source, model, dtype=torch.float32).to(pick_device(device))
    tokenizer = load_tokenizer(source, model)
    body = body.eval().requires_grad_(False)
    return Encoder(
        body, tokenizer, limit=limit, batch_tokens=batch_tokens, spent=spent, name=f"encoder {model}"
    )
