"""The frozen base model: its attention projections, and a branch mounted beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from prime_audit.engine import attention
from prime_audit.engine.codec import Codec, pad_right
from prime_audit.engine.fused import fuse
from prime_audit.engine.keys import reads_text
from prime_audit.engine.kvcache import Caches
from prime_audit.engine.lastlayer import LastLayer, Places
from prime_audit.engine.lora import Adapter
from prime_audit.engine.memory import Fit, tokens_that_fit
from prime_audit.engine.mixture import Spent
from prime_audit.engine.packed import pack
from prime_audit.engine.passes import Worker
from prime_audit.engine.rotations import positions, rotate_by_row
from prime_audit.engine.shape import Shape, pass_worth
from prime_audit.engine.sites import adapted, aside, like_weight
from prime_audit.engine.trial import SELECTED, not_adapted, try_out
from prime_audit.errors import UserError

KINDS = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "olmo2")
"""Architectures whose last layer, logits and packed rows are tested; others take transformers' own path."""


class Branch:
    """What runs beside every site: adds ``branch(i, x)`` to the output of site i."""

    def __call__(self, site: int, x: Tensor) -> Tensor:
        """Return the addition [rows, tokens, d_out] for the site's input x [rows, tokens, d_in]."""
        raise NotImplementedError

    def onto(self, site: int, x: Tensor, output: Tensor) -> Tensor:
        """Return a site's output with the addition; may change the tensor in place."""
        return output + self(site, x).to(output.dtype)

    def select(self, rows: Tensor) -> None:
        """Keep only these rows of the batch (int64 [n]), in this order; rows leave in generation only."""
        raise NotImplementedError(f"{type(self).__name__} cannot drop rows")


class Base:
    """A causal language model with its tokenizer, frozen, with at most one branch mounted at a time."""

    def __init__(self, model: Any, tokenizer: Any, targets: Sequence[str], name: str) -> None:
        self.model = model.eval().requires_grad_(False)
        self.name = name
        self.notes: tuple[str, ...] = ()
        """Warnings from loading it, for the run's record."""
        self.file_sha256: str | None = None
        """Hash of its file, where it is a single one (GGUF)."""
        self.spent = Spent()
        self.fits = {
            "generate": Fit("one answer"),
            "observe": Fit("one scored text"),
            "train": Fit("one training example"),
        }
        """Batch sizes that memory allowed so far, by kind of work."""
        self.worker = Worker()
        """Who does the passes through the model; training's, too."""
        known = model.config.model_type in KINDS
        self.codec = Codec(tokenizer, Shape.of(model.config).context, name)
        self.codec.rows = model.get_input_embeddings().num_embeddings
        if self.codec.eos >= self.codec.rows:
            raise UserError(
                f"model {name}: its tokenizer's end-of-text is outside the model's vocabulary; "
                "pass a model folder with the model's own tokenizer"
            )
        self.stops = _stops(model, self.codec.eos)
        """Token ids that end an answer: the tokenizer's end-of-text and those in the model's configuration."""
        self.sites, self._linears = adapted(model, targets, name)
        """The adapted layers, in the model's order."""
        self._aside = aside(model, name)
        self.rotation_limit = rotate_by_row(self.model)
        """Longest text in tokens up to which no rotation depends on its length; None: none ever does."""
        fuse(self.model)
        pack(self.model)
        if known:
            attention.install(self.model)
        self._last = LastLayer(model.base_model.layers[-1]) if known else None
        self._branch: Branch | None = None
        self._pristine: dict[int, Tensor] = {}
        self._merged: list[str] = []
        self.caches, self._flat = Caches(model.config), frozenset[int]()
        if not known:
            found = try_out(model, tokenizer, self.sites, self._linears, name)
            self.caches, self._flat = found.caches, found.flat
        self._batch: tuple[int, int] = (0, 0)
        if self._flat:
            model.base_model.register_forward_pre_hook(self._note_batch, with_kwargs=True)
        for index, linear in enumerate(self._linears):
            linear.register_forward_hook(partial(self._add_branch, index))

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.model.parameters()).device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.model.parameters()).dtype  # type: ignore[no-any-return]

    @property
    def layers(self) -> int:
        """Number of decoder layers."""
        return 1 + max(site.layer for site in self.sites)

    @contextmanager
    def mounted(self, branch: Branch | None) -> Iterator[None]:
        """Run the body with this branch beside every site (None: the bare base)."""
        before, self._branch = self._branch, branch
        try:
            yield
        finally:
            self._branch = before

    def _add_branch(
        self, site: int, module: nn.Module, args: tuple[Tensor, ...], output: Tensor
    ) -> Tensor | None:
        if self._branch is None:
            return None
        x = args[0]
        if site not in self._flat:
            return self._branch.onto(site, x, output)
        if x.numel() != self._batch[0] * self._batch[1] * x.shape[-1]:
            raise not_adapted(self.name, self.sites[site], SELECTED)
        rows, own = (t.reshape(*self._batch, t.shape[-1]) for t in (x, output))
        return self._branch.onto(site, rows, own).reshape(output.shape)

    def _note_batch(self, _: nn.Module, args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        """Remember the shape of the batch: some layers see its tokens as one row."""
        ids = options["input_ids"] if "input_ids" in options else args[0]
        self._batch = (ids.shape[0], ids.shape[1])

    def room(self, tokens: int, kind: str) -> int:
        """Return how many padded tokens a batch may have: ``tokens``, or fewer where memory is short."""
        fit = tokens_that_fit(self.model.config, self.dtype.itemsize, self.device, kind)
        return min(tokens, fit)

    @cached_property
    def worth(self) -> float:
        """Tokens that take as long as what a pass costs besides its own (see :func:`batches.batches`)."""
        return pass_worth(self.model.config, self.device)

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, dict[str, Any]]:
        """Stack ids, padded on the right, [n, t]; with the positions where the model's rotation needs them."""
        ids = pad_right(rows, self.codec.pad, self.device)
        if self.rotation_limit is None:
            return ids, {}
        return ids, {"position_ids": positions([len(row) for row in rows], self.device)}

    def logits_at(self, ids: Tensor, rows: Sequence[int], columns: Sequence[int], **options: Any) -> Tensor:
        """Logits at some places of a batch, [places, vocabulary]; the output layer runs at these alone.

        ``options`` go to the model (mask, positions, cache); without any, rows are padded on the right.
        """
        options.setdefault("use_cache", "past_key_values" in options)
        if self._last_alone:
            states, places = self._last_states(ids, rows, columns, **options)
            picked: Tensor = self.model.get_output_embeddings()(states[places.flat])
            cap = getattr(self.model.config, "final_logit_softcapping", None)
            # tanh would hide infinity: 0 · ∞ is not a number.
            return picked if cap is None else torch.tanh(picked / cap) * cap + 0 * picked
        # Other architectures may change their logits after the output layer.
        first = min(columns)
        out = self.model(input_ids=ids, logits_to_keep=ids.shape[1] - first, **options)
        return out.logits[list(rows), [c - first for c in columns]]  # type: ignore[no-any-return]

    def pass_by(self, ids: Tensor, rows: Sequence[int], columns: Sequence[int], **options: Any) -> None:
        """Run a batch for what its branch sees; where possible, the last layer only at these places."""
        if self._last_alone:
            self._last_states(ids, rows, columns, use_cache=False, **options)
        else:
            self.model.base_model(input_ids=ids, use_cache=False, **options)

    @property
    def _last_alone(self) -> bool:
        """Whether the last layer can run at some places alone."""
        return self._last is not None and attention.fused(self.model.config)

    def _last_states(
        self, ids: Tensor, rows: Sequence[int], columns: Sequence[int], **options: Any
    ) -> tuple[Tensor, Places]:
        """States after the last layer at some places of a batch, [rows, most, d], and where each place is in them."""
        assert self._last is not None
        places = Places.of(len(ids), rows, columns, ids.device)
        with self._last.only(places):
            return self.model.base_model(input_ids=ids, **options)[0], places

    def of_text(self, adapter: Adapter) -> Adapter:
        """Leave out what an adapter changes in encoders of images or sound: no text runs through them."""
        kept = [i for i, site in enumerate(adapter.sites) if site not in self._aside and reads_text(site)]
        a, b = (tuple(own[i] for i in kept) for own in (adapter.A, adapter.B))
        return Adapter(tuple(adapter.sites[i] for i in kept), a, b, adapter.scaling)

    def aligned(self, adapter: Adapter) -> Adapter:
        """Put an adapter's sites in this base's order; ValueError where it is for another model."""
        place = {name: i for i, name in enumerate(adapter.sites)}
        if place.keys() != {site.name for site in self.sites}:
            raise ValueError("the adapter is for other modules than the base's")
        order = [place[site.name] for site in self.sites]
        a, b = tuple(adapter.A[i] for i in order), tuple(adapter.B[i] for i in order)
        for site, x, y in zip(self.sites, a, b, strict=True):
            if x.shape != (adapter.rank, site.d_in) or y.shape != (site.d_out, adapter.rank):
                raise ValueError(f"the adapter's factors at {site.name} do not fit the base's Linear layer")
        return Adapter(tuple(site.name for site in self.sites), a, b, adapter.scaling)

    @torch.no_grad()
    def merge(self, adapter: Adapter) -> None:
        """Add an adapter to the weights themselves (base adaptation); :meth:`restore` undoes it exactly."""
        _ = self.loaded_sha256
        adapter = self.aligned(adapter)
        self._merged.append(adapter.content)
        for place, (linear, a, b) in enumerate(zip(self._linears, adapter.A, adapter.B, strict=True)):
            self._pristine.setdefault(place, linear.weight.detach().cpu().clone())
            delta = like_weight(linear, adapter.scaling * (b.double() @ a.double()))
            linear.weight.copy_(
                (linear.weight.double() + delta.to(linear.weight.device)).to(linear.weight.dtype)
            )

    @torch.no_grad()
    def restore(self) -> None:
        """Restore the weights as loaded."""
        for place, weight in self._pristine.items():
            self._linears[place].weight.copy_(weight)
        self._pristine.clear()
        self._merged.clear()

    @property
    def fingerprint(self) -> str:
        """Identify the current model: loaded weights, tokenizer, stop tokens, and adapters merged since, in order."""
        parts = [self.loaded_sha256, config_sha256(self.model.config), self.codec.content, repr(self.stops)]
        return " ".join([*parts, *self._merged])

    @cached_property
    def loaded_sha256(self) -> str:
        """Hash of the weights as loaded (see :meth:`sha256`); first read it before anything is merged."""
        if self._merged:
            raise RuntimeError("the hash of the loaded weights was first read after a merge")
        return self.sha256()

    def sha256(self) -> str:
        """Hash of every current weight, in name order."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
            digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def parameters(self) -> int:
        """Count the weights."""
        return sum(p.numel() for p in self.model.parameters())


def config_sha256(config: Any) -> str:
    """Hash the fields of a configuration that decide the computation (rotations, windows, kernels)."""
    fields = {
        k: v for k, v in config.to_diff_dict().items() if k not in ("_name_or_path", "transformers_version")
    }
    text = json.dumps(fields, sort_keys=True, default=str) + str(config._attn_implementation)
    return hashlib.sha256(text.encode()).hexdigest()


def _stops(model: Any, eos: int) -> tuple[int, ...]:
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return tuple(
        dict.fromkeys([eos, *(named if isinstance(named, list) else [] if named is None else [named])])
    )
