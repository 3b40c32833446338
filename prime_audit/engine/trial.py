"""A trial of a model on a dozen tokens at load: what would be silently wrong later is refused here in one line.

It finds how the model stores what it has read, and which adapted layers see all tokens in one long row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from prime_audit.engine.keys import leaf_of
from prime_audit.engine.kvcache import Caches, Reader, select
from prime_audit.engine.memory import out_of_memory
from prime_audit.engine.sites import Site
from prime_audit.errors import UserError, first_line_of

READ, WRITE = 4, 2
"""Tokens of each row that are read at once, and one by one."""
TEXTS = (
    "Rain again, so no football; the kettle is on, and 3 cats sleep in my chair.",
    "They bought 12 apples at the old market before it closed on Friday.",
    "What is the capital of France? The answer to 12 questions.",
)
SELECTED = "it sees selected tokens only"
"""Why an expert behind a router cannot have adapters."""
_CLOSE = {torch.float32: 0.01, torch.float64: 0.01}
_ROUGH = 0.3
"""Largest difference of logits, relative to their spread, that is rounding; half formats round coarsely."""


@dataclass(frozen=True)
class Trial:
    """What a trial found."""

    caches: Caches
    flat: frozenset[int]
    """Sites whose input is one row of all the batch's tokens: [rows · tokens, d]."""


@torch.no_grad()
def try_out(
    model: Any, tokenizer: Any, sites: Sequence[Site], modules: Sequence[nn.Module], name: str
) -> Trial:
    """Run a model that is not known to be plain; UserError where its answers or adapters would be wrong."""
    weight = next(model.parameters())
    # Rounding in half formats may choose another expert: what is wrong is wrong on all texts.
    for text in TEXTS[: 0 if weight.dtype in _CLOSE else -1]:
        with suppress(UserError):
            return _tried(model, _tokens(tokenizer, text, weight.device), sites, modules, name)
    return _tried(model, _tokens(tokenizer, TEXTS[-1], weight.device), sites, modules, name)


def _tried(model: Any, ids: Tensor, sites: Sequence[Site], modules: Sequence[nn.Module], name: str) -> Trial:
    with _recording(modules) as calls:
        try:
            logits = _logits(model, ids)
        except Exception as fault:  # whatever it is
            raise _unfit(name, f"fails on text-only input: {first_line_of(fault)}", fault) from fault
    flat = _flat(model, ids, sites, modules, calls, name)
    return Trial(_caches(model, ids, logits, name), flat)


def _tokens(tokenizer: Any, text: str, device: torch.device) -> Tensor:
    """Two rows of different tokens, [2, READ + WRITE]."""
    some = list(dict.fromkeys(tokenizer(text)["input_ids"])) or [0]
    size = READ + WRITE
    some = (some * (1 + 2 * size // len(some)))[: 2 * size]
    return torch.tensor(some, device=device).view(2, size)


def _logits(model: Any, ids: Tensor, **options: Any) -> Tensor:
    """Logits after each token, [rows, tokens, vocabulary]."""
    found: Tensor = model(
        input_ids=ids, logits_to_keep=ids.shape[1], **({"use_cache": False} | options)
    ).logits
    return found


def _caches(model: Any, ids: Tensor, logits: Tensor, name: str) -> Caches:
    """Find a way to store what was read that gives the logits of reading the whole."""
    own = _own_cache(model, ids)
    plain = Caches(model.config)
    ways = [Caches(model.config, own, apart=False)] if own else [plain, Caches(model.config, apart=False)]
    if not logits.isfinite().all():  # nothing to compare with: they are reported when they are used
        return ways[-1]
    faults: list[Exception | None] = []
    for way in ways:
        try:
            if _agrees(model, ids, logits, way):
                return way
            faults.append(None)
        except Exception as fault:  # a cache that does not fit the model fails in any way
            faults.append(fault)
    why = next(
        (f"cannot be used: {first_line_of(fault)}" for fault in faults if fault),
        "gives other logits than a full pass",
    )
    raise _unfit(name, f"its key-value cache {why}", faults[-1])


def _own_cache(model: Any, ids: Tensor) -> type | None:
    """Return the class of the cache of a model that accepts no other."""
    try:
        stored = model(input_ids=ids[:, :READ], use_cache=True).past_key_values
    except Exception:  # the ways to read are tried next, and say what is wrong
        return None
    kind = type(stored)
    return kind if isinstance(stored, DynamicCache) and kind is not DynamicCache else None


def _agrees(model: Any, ids: Tensor, logits: Tensor, way: Caches) -> bool:
    """Whether reading, writing, and writing after a row has left give the logits of reading the whole."""
    reader = Reader(way, len(ids), READ, WRITE)
    parts = [slice(n, n + 1) for n in range(len(ids))] if way.apart else [slice(0, len(ids))]
    for part in parts:
        read = _logits(model, ids[part, :READ], past_key_values=reader.part(part), use_cache=True)
        if _differ(read[:, -1], logits[part, READ - 1]):
            return False
    cache, rows = reader.whole(), torch.arange(len(ids), device=ids.device)
    for column in range(READ, READ + WRITE):
        places = torch.full((len(rows), 1), column, device=ids.device)
        options = {"position_ids": places, "past_key_values": cache, "use_cache": True}
        wrote = model(input_ids=ids[rows, column : column + 1], **options).logits[:, -1]
        if _differ(wrote, logits[rows, column]):
            return False
        if way.apart:
            rows = rows[1:]
            select(cache, rows)
    return True


def _differ(found: Tensor, right: Tensor) -> bool:
    """Whether logits differ by more than rounding."""
    wide = right.float()
    spread = (wide - wide.mean(-1, keepdim=True)).norm()
    return bool((found.float() - wide).norm() > _CLOSE.get(right.dtype, _ROUGH) * spread)


@contextmanager
def _recording(modules: Sequence[nn.Module]) -> Iterator[list[list[tuple[Any, Any]]]]:
    """Note the input and output of every module at each call."""
    calls: list[list[tuple[Any, Any]]] = [[] for _ in modules]

    def note(place: int, _: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        calls[place].append((args[0] if args else None, output))

    hooks = [module.register_forward_hook(partial(note, place)) for place, module in enumerate(modules)]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _flat(
    model: Any,
    ids: Tensor,
    sites: Sequence[Site],
    modules: Sequence[nn.Module],
    calls: Sequence[Sequence[tuple[Any, Any]]],
    name: str,
) -> frozenset[int]:
    """Return the sites that see all tokens in one row; UserError where it is unknown whose token is which."""
    odd = {i for i, own in enumerate(calls) if any(not _plain(ids, x, y) for x, y in own)}
    if not odd:
        return frozenset()
    for place in sorted(odd):
        if any(not isinstance(y, Tensor) for _, y in calls[place]):
            raise not_adapted(name, sites[place], "it returns more than its product")
        if any(_count(x) != ids.numel() for x, _ in calls[place]) or len(calls[place]) > 1:
            raise not_adapted(name, sites[place], SELECTED)
    alone = list[list[Tensor]]()
    for row in ids:
        with _recording([modules[i] for i in sorted(odd)]) as own:
            _logits(model, row[None])
        alone.append([_rows(found[0][0]) for found in own])
    for n, place in enumerate(sorted(odd)):
        together, single = _rows(calls[place][0][0]), torch.cat([inputs[n] for inputs in alone])
        nearest = torch.cdist(together, single).argmin(1)
        if nearest.tolist() != list(range(len(single))):
            raise not_adapted(name, sites[place], "it sees the tokens in another order")
    return frozenset(odd)


def _plain(ids: Tensor, x: Any, y: Any) -> bool:
    """Whether a layer saw [rows, tokens, d] and returned such."""
    return all(isinstance(t, Tensor) and t.ndim == 3 and t.shape[:2] == ids.shape for t in (x, y))


def _count(x: Any) -> int:
    return x.numel() // x.shape[-1] if isinstance(x, Tensor) else -1


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).float()


def not_adapted(name: str, site: Site, why: str) -> UserError:
    """Build the error for a layer that adapters cannot go beside."""
    return UserError(
        f"model {name}: {site.name} cannot have adapters here: {why}; "
        f"leave {leaf_of(site.name)} out of --set lora.modules"
    )


def _unfit(name: str, why: str, fault: Exception | None = None) -> UserError | Exception:
    if fault is not None and out_of_memory(fault):
        return fault
    return UserError(f"model {name}: {why}; pass another model")
