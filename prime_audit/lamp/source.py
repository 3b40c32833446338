"""Where a run's data come from: the built-in world or a path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prime_audit.errors import UserError
from prime_audit.lamp.data import Dataset
from prime_audit.settings import Settings


def open_data(
    data: str,
    task: str,
    seed: int,
    settings: Settings,
    *,
    strict: bool = False,
    sharers: Path | None = None,
    base_adapter: Path | None = None,
    columns: Mapping[str, str] | None = None,
) -> Dataset:
    """Return one task's users: from the world with this seed, or from a path with the settings' split.

    ``sharers`` is a folder of people whose adapters were trained elsewhere (``lamp/given.py``) on ``base_adapter``.
    ``columns`` names columns of plain items by role, of the data and of the sharers.
    """
    adapt_share, targets = settings.get("adapt_share", task), settings.get("targets", task)
    if data == "world":
        from prime_audit.lamp.world.world import Sizes, world

        if columns and sharers is None:
            raise UserError(
                "--columns, --time-column: the built-in world has no columns; pass --data, or leave them out"
            )
        # As with plain items: at most this number of targets.
        sizes = {"adapt": round(adapt_share * Sizes.users), "targets": min(targets, Sizes.targets)}
        found = world(task, seed=seed, **sizes)
    else:
        from prime_audit.lamp.readers import holds_items, read

        own = columns if sharers is None or holds_items(data, task) else None
        split: dict[str, Any] = {"seed": seed, "targets": targets, "adapt_share": adapt_share}
        found = read(data, task, **split, strict=strict, columns=own)
    found = found.capped(settings.get("max_items", task))
    if sharers is None:
        return found
    from prime_audit.lamp.given import with_sharers

    return with_sharers(found, sharers, base_adapter, strict=strict, columns=columns)
