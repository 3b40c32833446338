"""Text embeddings: mean over tokens of the last hidden states (Eq. 4)."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from prime_audit.engine.base import Base, config_sha256
from prime_audit.engine.batches import Tick, batches, nothing
from prime_audit.engine.checkpoint import Source, open_model, require_vocabulary
from prime_audit.engine.codec import require_known, tokens_sha256
from prime_audit.engine.finite import states_not_finite
from prime_audit.engine.keys import leaf_of
from prime_audit.engine.load import OLD_LAYOUT, load_tokenizer, pick_device, resolve_model
from prime_audit.engine.lora import hash_of
from prime_audit.engine.memo import NOWHERE, Partial, Rows, stacked, unstacked
from prime_audit.engine.memory import Fit
from prime_audit.engine.mixture import Spent
from prime_audit.engine.passes import Pass, Worker
from prime_audit.engine.rotations import positions, rotate_by_row
from prime_audit.engine.shape import Shape, pass_worth
from prime_audit.errors import UserError, first_line_of
from prime_audit.io import intake


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
        self._rotation_limit = rotate_by_row(body)
        self.spent = Spent() if spent is None else spent
        """Where its work is counted."""
        self.notes: tuple[str, ...] = ()
        """Warnings from loading it, for the run's record."""
        self._identity, self._options = identity, options
        self.fit = Fit("one embedded text")
        self.worker = Worker()

    @cached_property
    def sha256(self) -> str:
        """Hash of the model's own weights, configuration and tokens; see :meth:`content` for a base."""
        weights = hash_of(tensor for _, tensor in sorted(self.body.state_dict().items()))
        return f"{weights} {config_sha256(self.body.config)} {tokens_sha256(self.tokenizer)}"

    def content(self) -> tuple[str, int, int]:
        """Return all that decides an embedding, except the text."""
        return (self._identity() if self._identity else self.sha256), self.limit, self.batch_tokens

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], tick: Tick = nothing, so_far: Partial = NOWHERE) -> np.ndarray:
        """Embed texts (first ``limit`` tokens): float64 [n, hidden]."""
        pad = self.tokenizer.pad_token_id or 0  # any token: the mask hides it
        # A text without tokens has no mean: use a padding token.
        rows = [
            self.tokenizer(t, truncation=True, max_length=self.limit)["input_ids"] or [pad] for t in texts
        ]
        known = self.body.get_input_embeddings().num_embeddings
        for row in rows:
            require_known(self.tokenizer, row, known)
        out = Rows[np.ndarray](so_far, stacked, unstacked)
        if out.done:
            tick(len(out.done))

        def work(part: Sequence[int]) -> None:
            own = [rows[i] for i in part]
            size = len(own) * max(map(len, own))
            batch = Embed(
                partial(self._means, own, pad),
                [texts[i] for i in part],
                size,
                Shape.of(self.body.config).hidden,
            )
            means = self.worker.do(batch)
            self.spent.requests += len(part)
            self.spent.prompt_tokens += sum(map(len, own))
            out.add(part, list(means))
            tick(len(part))

        def length(i: int) -> int:
            return len(rows[i])

        worth = pass_worth(self.body.config, self.body.device)
        for part in batches(
            range(len(rows)), group=lambda _: 0, length=length, tokens=self.batch_tokens, worth=worth
        ):
            if left := out.left(part):
                self.fit.run(work, left, length)
        return np.stack(out.all())

    def _means(self, rows: Sequence[list[int]], pad: int) -> np.ndarray:
        """Embed one batch: the mean over tokens of the last hidden states."""
        width, device = max(map(len, rows)), next(self.body.parameters()).device
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
        options = self._options
        if self._rotation_limit is not None:
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
    """Load a Hugging Face encoder (folder or hub id), float32; its work is counted in ``spent``.

    ``limit`` (tokens) is lowered to what the encoder was trained for. Raises UserError as :func:`load_base` does.
    """
    from transformers import AutoModel

    source = Source("encoder", model, resolve_model(model, "encoder"))
    opened = open_model(source, torch.float32, pick_device(device), auto=AutoModel)
    body = opened.model
    if hasattr(body, "encoder") and hasattr(body, "decoder"):  # T5's: its states alone are the text's
        body = body.get_encoder()
    tokenizer = load_tokenizer(source.place, model, "encoder")
    require_vocabulary(body, tokenizer, source)
    body = body.eval().requires_grad_(False)
    limit = min(limit, _longest(body), _trained_length(source.place))
    name = f"encoder {model}"
    encoder = Encoder(body, tokenizer, limit=limit, batch_tokens=batch_tokens, name=name)
    try:
        encoder.embed(["a"])
    except UserError:
        raise
    except Exception as fault:  # one of images or sound fails in any way
        raise source.fault(f"cannot embed text ({first_line_of(fault)}); pass a text encoder") from fault
    encoder.spent = encoder.spent if spent is None else spent
    encoder.notes = (*opened.notes, *_pooling(source.place))
    return encoder


def _longest(body: Any) -> int:
    """Most tokens that an encoder has positions for; where they are no table, there is no limit."""
    rows = [sys.maxsize]
    for name, module in body.named_modules():
        if name.endswith("embeddings.position_embeddings"):
            # Where the table has a padding row, as RoBERTa's, positions are counted from the row after it.
            pad = module.padding_idx
            rows.append(module.num_embeddings - (0 if pad is None else pad + 1))
        elif isinstance(module, nn.Embedding) and re.search("wpe|position", leaf_of(name)):
            rows.append(Shape.of(body.config).context)
    return min(rows)


def _trained_length(source: str) -> int:
    """Most tokens of a text that a sentence-transformers folder asks for; no limit where it does not say."""
    most = _said(source, "sentence_bert_config.json").get("max_seq_length")
    return most if type(most) is int and most > 0 else sys.maxsize


def _pooling(source: str) -> list[str]:
    """Warn where a sentence-transformers folder asks for another embedding than the mean over tokens."""
    # The old layout keeps the model one folder deeper.
    home = Path(source).parent if Path(source).name == OLD_LAYOUT else Path(source)
    said = _said(str(home), "1_Pooling/config.json")
    if named := said.get("pooling_mode"):
        modes = {*map(str, named)} if isinstance(named, list) else {str(named)}
    else:
        older = {"pooling_mode_mean_tokens": True} | said
        modes = {
            key.removeprefix("pooling_mode_")
            for key, used in older.items()
            if "pooling_mode_" in key and used
        }
    if modes in ({"mean"}, {"mean_tokens"}):
        return []
    return [
        "the encoder was trained with another pooling than the mean over tokens, which is used here: similarities are "
        "not those that its authors report"
    ]


def _said(source: str, name: str) -> dict[str, Any]:
    """Read a file of a sentence-transformers folder; empty where there is none."""
    file = Path(source) / name
    if not file.is_file():
        return {}
    try:
        content = intake.read_json(file)
    except (OSError, ValueError) as fault:
        raise UserError(f"encoder {source}: {name} cannot be read ({fault}); fix the file") from None
    return content if isinstance(content, dict) else {}
