"""Where a run's data come from: the built-in world or a path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prime_audit.lamp.data import Dataset

if TYPE_CHECKING:
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
) -> Dataset:
    """Return one task's users: from the world with this seed, or from a path with the settings' split.

    ``sharers`` is a folder of people whose adapters were trained elsewhere (``lamp/given.py``) on ``base_adapter``.
    """
    found = _read(data, task, seed, settings, strict=strict)
    if sharers is None:
        return found
    from prime_audit.lamp.given import with_sharers

    return with_sharers(found, sharers, base_adapter, strict=strict)


def _read(data: str, task: str, seed: int, settings: Settings, *, strict: bool) -> Dataset:
    if data == "world":
        from prime_audit.lamp.world.world import Sizes, world

        made = world(
            task,
            seed=seed,
            adapt=round(settings.get("adapt_share", task) * Sizes.users),
            # As with plain items: at most this number of targets.
            targets=min(settings.get("targets", task), Sizes.targets),
        )
        return made.capped(settings.get("max_items", task))
    from prime_audit.lamp.readers import read

    found = read(
        data,
        task,
        seed=seed,
        targets=settings.get("targets", task),
        adapt_share=settings.get("adapt_share", task),
        strict=strict,
    )
    return found.capped(settings.get("max_items", task))
