"""Numbers that are not finite: the one line that says which model gave them, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prime_audit.errors import PartError, UserError

if TYPE_CHECKING:
    import torch

    from prime_audit.engine.base import Base
    from prime_audit.engine.mixture import Mixture

SHOWN = 3
"""Adapters that a line names."""


def not_finite(base: Base, mixture: Mixture, what: str = "logits") -> UserError:
    """Build the error for a model whose ``what`` are NaN or infinite.

    Of a merged model a PartError, because other methods' models may be sound; of the bare base it ends the run.
    """
    if not mixture.names:
        return UserError(f"model {base.name}: {what} are not finite in {_remedy(base.dtype)}")
    return PartError(
        f"model {base.name} with {_listed(mixture.names)} merged: {what} are not finite in "
        f"{_remedy(base.dtype, 'these adapters')}"
    )


def states_not_finite(name: str, dtype: torch.dtype) -> UserError:
    """Build the error for what embeds texts, "encoder X" or "model X", with states that are NaN or infinite."""
    return UserError(f"{name}: hidden states are not finite in {_remedy(dtype)}")


def _remedy(dtype: torch.dtype, whose: str = "its weights") -> str:
    """Name the number format and what to do: a wider one where there is one."""
    import torch

    name = str(dtype).removeprefix("torch.")
    if dtype == torch.float16:
        return f"{name}: use --dtype bfloat16"
    wider = "use --dtype float32, or " if dtype == torch.bfloat16 else ""
    return f"{name}: {wider}replace {whose}, which are NaN or too large"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(name.replace(":", " ", 1) for name in names[:SHOWN]) + more
