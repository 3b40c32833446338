"""Where a run's data come from: the built-in world or a path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prime_audit.errors import UserError, unknown
from prime_audit.lamp.data import Dataset
from prime_audit.settings import Settings

WORLD = "world"
"""The data that are no path: the built-in world, of its own size or of another, ``world:users=96,queries=24``."""
_WORLD_SIZES = ("users", "queries")
"""Sizes of the world that a user may choose: its people, roles in proportion, and questions of each who is asked."""


def is_world(data: str) -> bool:
    """Whether the data are the built-in world, of any size."""
    return data.partition(":")[0] == WORLD


def world_sizes(data: str) -> dict[str, int]:
    """Read ``world:users=96,queries=24``; empty for ``world``. Raises UserError."""
    sizes: dict[str, int] = {}
    _, colon, words = data.partition(":")
    for word in words.split(",") if colon else ():
        name, _, number = word.partition("=")
        if name not in _WORLD_SIZES:
            raise unknown("size of the world", name, _WORLD_SIZES)
        if name in sizes:
            raise UserError(f"--data {data}: {name} is given twice; leave one out")
        if not number.isdecimal() or not 1 <= int(number) <= 10_000:
            raise UserError(
                f"--data {data}: {name} is no whole number from 1 to 10000; write for example world:{name}=24"
            )
        sizes[name] = int(number)
    return sizes


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
    ``columns`` names columns of plain items by role, of the data and of the sharers. ``data`` may give the world other
    sizes (``world_sizes``).
    """
    adapt_share, targets = settings.get("adapt_share", task), settings.get("targets", task)
    if is_world(data):
        from prime_audit.lamp.world.world import Sizes, world

        if columns and sharers is None:
            raise UserError(
                "--columns, --time-column: the built-in world has no columns; pass --data, or leave them out"
            )
        sizes = world_sizes(data)
        users = sizes.get("users", Sizes.users)
        # As with plain items: at most this number of targets.
        roles = {
            "adapt": round(adapt_share * users),
            "targets": min(targets, users * Sizes.targets // Sizes.users),
        }
        if not roles["targets"] or (adapt_share and not roles["adapt"]):
            raise UserError(
                f"--data {data}: of {users} users {roles['adapt']} adapt the base and {roles['targets']} are targets; "
                f"write more, for example world:users={2 * Sizes.users}, or set another adapt_share"
            )
        found = world(task, seed=seed, **sizes, **roles)
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
