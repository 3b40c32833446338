"""Convert plain items to the Per-Pcs layout on disk, so that the split stays fixed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prime_audit.errors import UserError
from prime_audit.lamp.data import Dataset
from prime_audit.lamp.readers import read
from prime_audit.lamp.world.world import require_new, staged, write_files


def import_items(
    file: str | Path,
    task: str | None,
    out_dir: str | Path,
    seed: int = 0,
    *,
    targets: int = 100,
    adapt_share: float = 0.25,
    queries: float = 0.2,
    columns: str | Mapping[str, str] | None = None,
    time_column: str | None = None,
) -> Dataset:
    """Read plain items, draw roles, and write them as a Per-Pcs folder, atomically; return what was read.

    Reading ``out_dir`` gives the same users, in the same roles, with the same questions. Raises UserError where
    :func:`read` does, where the data are not plain items, and where ``out_dir`` is not empty.
    """
    out = Path(out_dir)
    require_new(out)
    split: dict[str, Any] = {"targets": targets, "adapt_share": adapt_share, "queries": queries}
    data = read(file, task, seed=seed, columns=columns, time_column=time_column, **split)
    if data.layout != "items":
        raise UserError(f"{file}: is already in the {data.layout} layout; no import is needed")
    with staged(out) as draft:
        write_files(data, draft)
    return data
