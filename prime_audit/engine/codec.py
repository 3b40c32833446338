"""Text to tokens: prompts, prompts with gold; truncation drops the front, never the gold."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from prime_audit.engine.mixture import Cuts
from prime_audit.errors import UserError


@dataclass(frozen=True)
class Encoded:
    """A prompt, with or without its gold, as token ids."""

    ids: tuple[int, ...]
    """Begin-of-text (if the tokenizer has one) and prompt; then gold and end-of-text, if there is a gold."""
    gold: int
    """How many of the last ids are gold tokens (end-of-text included); 0 for a bare prompt."""


KEEP = 2_000_000
"""Tokens that a codec remembers, some hundred megabytes: a search repeats its prompts in every generation."""


class Codec:
    """A tokenizer with two encodings, prompts and examples; it remembers the latest texts."""

    def __init__(self, tokenizer: Any, context: int, name: str) -> None:
        self.tokenizer = tokenizer
        self.context = context
        self.eos = _end(tokenizer, name)
        # Padding is masked everywhere; a tokenizer's own token may be outside the vocabulary.
        self.pad = self.eos
        begin = _begin(tokenizer)
        self._begin = self.eos if begin is None else begin
        self.rows: int | None = None
        """Rows of the model's embedding, where known; a tokenizer's special tokens may be beyond them."""
        self._seen: OrderedDict[tuple[str, str | None, int], tuple[Encoded, str]] = OrderedDict()
        self._held = 0
        self.cuts = Cuts()

    @cached_property
    def content(self) -> str:
        """Hash of all that decides a text's tokens: the same weights may come with another tokenizer."""
        return tokens_sha256(self.tokenizer)

    @property
    def cut(self) -> int:
        """Number of different texts so far that were longer than the context and lost their front."""
        return len(self.cuts.texts)

    def prompt(self, text: str, room: int) -> Encoded:
        """Encode a bare prompt, leaving ``room`` tokens of the context; UserError where it is too small."""
        if room >= self.context:
            raise UserError(
                f"a context of {self.context} tokens has no room for {room} new ones; lower max_new"
            )
        return self._remember(text, None, room)

    def example(self, prompt: str, gold: str) -> Encoded:
        """Encode ``prompt + ' ' + gold`` and end-of-text; gold tokens are those after the prompt's."""
        return self._remember(prompt, gold, 0)

    def decode(self, ids: Sequence[int]) -> str:
        """Turn generated ids into text, without special tokens, stripped."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    def _remember(self, prompt: str, gold: str | None, room: int) -> Encoded:
        key = (prompt, gold, room)
        if key in self._seen:
            self._seen.move_to_end(key)
        else:
            self._seen[key] = self._new(key)
            self._held += len(self._seen[key][0].ids)
            while self._held > KEEP and len(self._seen) > 1:
                self._held -= len(self._seen.popitem(last=False)[1][0].ids)
        found, cut = self._seen[key]
        if cut:
            self.cuts.texts.add(cut)
        return found

    def _new(self, key: tuple[str, str | None, int]) -> tuple[Encoded, str]:
        """Encode a text; with a digest where it lost its front, so that it stays counted when it is forgotten."""
        prompt, gold, room = key
        ids, target = self._encode(prompt, gold)
        require_known(self.tokenizer, ids, self.rows)
        kept = self._fit(ids, self.context - room)
        lost = len(kept) < len(ids)
        digest = hashlib.blake2b(repr(key).encode(), digest_size=16).hexdigest() if lost else ""
        return Encoded(kept, min(target, len(kept) - 1)), digest

    def _encode(self, prompt: str, gold: str | None) -> tuple[list[int], int]:
        """Return all tokens, and how many at the end are gold."""
        head = self._tokens(prompt)
        if gold is None:
            return head or [self._begin], 0
        full = self._tokens(f"{prompt} {gold}")
        # Tokenized together, then split: SentencePiece would add a space to a gold tokenized alone.
        shared = next(
            (i for i, (a, b) in enumerate(zip(head, full, strict=False)) if a != b), min(len(head), len(full))
        )
        # The first gold token is predicted from the one before it.
        front = full[:shared] or [self._begin]
        target = [*full[shared:], self.eos]
        return [*front, *target], len(target)

    def _tokens(self, text: str) -> list[int]:
        ids = list(self.tokenizer(text, add_special_tokens=True)["input_ids"])
        while ids and ids[-1] == self.eos:  # some tokenizers end every text; end-of-text is added later
            ids.pop()
        return ids

    def _fit(self, ids: list[int], limit: int) -> tuple[int, ...]:
        if len(ids) <= limit:
            return tuple(ids)
        begin = ids[:1] if ids[0] == self.tokenizer.bos_token_id else []
        return tuple(begin + ids[len(ids) - limit + len(begin) :])


def tokens_sha256(tokenizer: Any) -> str:
    """Hash all that decides a text's tokens; an encoder's tokenizer needs no end-of-text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        # Truncation and padding were set by the last call and do not matter here.
        known = json.loads(backend.to_str()) | {"truncation": None, "padding": None}
        rules = json.dumps(known, sort_keys=True)
    else:
        rules = repr(sorted(tokenizer.get_vocab().items()))
    special = repr((type(tokenizer).__name__, _begin(tokenizer), tokenizer.eos_token_id))
    return hashlib.sha256((rules + special).encode()).hexdigest()


def require_known(tokenizer: Any, ids: Sequence[int], rows: int | None) -> None:
    """Refuse a text with a special token that the model's embedding lacks; UserError."""
    if rows is not None and max(ids, default=0) >= rows:
        token = tokenizer.convert_ids_to_tokens(max(ids))
        raise UserError(
            f"a text contains the special token {str(token)[:40]!a} (id {max(ids)}), but the model's embedding has "
            f"{rows} rows; remove it from the data"
        )


def _begin(tokenizer: Any) -> int | None:
    """Id of begin-of-text; end-of-text, or none, where there is no such token."""
    begin = tokenizer.bos_token_id
    return tokenizer.eos_token_id if begin is None else int(begin)


def _end(tokenizer: Any, name: str) -> int:
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"model {name}: its tokenizer has no end-of-text token; set eos_token in tokenizer_config.json"
        )
    return int(tokenizer.eos_token_id)


def pad_left(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> Tensor:
    """Stack ids, padded on the left, [n, t]; the caller masks the padding."""
    width = max(len(row) for row in rows)
    return torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=device)


def pad_right(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> Tensor:
    """Stack ids, padded on the right, [n, t].

    Under causal attention no real token sees the padding, so the fast kernels without a mask can be used.
    """
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=device)


def gold_places(examples: Sequence[Encoded]) -> tuple[list[int], list[int]]:
    """Row and column of each position that predicts a gold token, in order of examples padded on the right."""
    rows = [i for i, e in enumerate(examples) for _ in range(e.gold)]
    columns = [c for e in examples for c in range(len(e.ids) - e.gold - 1, len(e.ids) - 1)]
    return rows, columns
