"""``prime-audit cache``: list, verify, prune. None needs torch."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prime_audit.commands.options import shared
from prime_audit.commands.printing import PATH, about, cache_of
from prime_audit.errors import UserError
from prime_audit.io.terminal import print_table, say

if TYPE_CHECKING:
    from prime_audit.cache.listing import Listed

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def _amount(option: str, units: dict[str, int], example: str) -> Callable[..., float | None]:
    """Read a number with a unit, as ``30d`` or ``10GB``."""

    def read(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
        if text is None:
            return None
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", text.strip())
        known = {name.casefold(): size for name, size in units.items()}
        if not found or found[2].casefold() not in known:
            raise UserError(
                f"{option} {text}: give a number with a unit ({', '.join(units)}), for example {example}"
            )
        return float(found[1]) * known[found[2].casefold()]

    return read


root_option = click.option(
    "--cache",
    "root",
    type=PATH,
    help="Folder of the cache.  [default: ~/.cache/prime-audit]",
)


@about("List, verify or shrink the cache.", "cache ls", "cache prune --older 30d --keep 10GB")
@click.group()
def command() -> None:
    """List, verify or shrink the cache: trained adapters, answers, signals."""


@about("List what the cache holds.", "cache ls", "cache ls --json")
@command.command()
@root_option
@shared("json")
def ls(root: Path | None, as_json: bool) -> None:
    """List what the cache holds by task, stage and kind; with --json every entry."""
    from prime_audit.cache.listing import listed

    root = cache_of(root)
    found = listed(root)
    if as_json:
        entries = [one.to_json() for one in found]
        say(json.dumps({"cache": str(root), "entries": entries}, indent=2, ensure_ascii=False))
        return
    groups: dict[tuple[str, str, str], list[Listed]] = {}
    for one in found:
        groups.setdefault((one.within.get("task") or "", one.within.get("stage") or "", one.kind), []).append(
            one
        )
    rows: list[list[Any]] = [[*group, *_summed(own)] for group, own in sorted(groups.items())]
    if rows:
        print_table(rows, ["task", "stage", "kind", "entries", "size", "made", "last read"])
    say(f"{root}: {_count(len(found), 'entry')}, {_size(sum(one.bytes for one in found))}")


@about("Read every entry and name the damaged ones.", "cache verify", "cache verify --repair")
@command.command()
@root_option
@click.option("--repair", is_flag=True, help="Set damaged entries aside; the next run recomputes them.")
def verify(root: Path | None, repair: bool) -> None:
    """Read every entry and name the damaged ones; exit code 1 if there is one."""
    from prime_audit.cache.listing import damage, entries

    root = cache_of(root)
    faults = 0
    for line in damage(root, repair):
        say(line, err=True)
        faults += 1
    if faults:
        sys.exit(1)
    say(f"{root}: {_count(sum(1 for _ in entries(root)), 'entry')}, all whole")


@about(
    "Remove old entries and leftovers of killed runs.",
    "cache prune",
    "cache prune --older 30d --keep 10GB --dry-run",
)
@command.command()
@root_option
@click.option(
    "--older",
    metavar="AGE",
    callback=_amount("--older", _SECONDS, "30d"),
    help="Remove entries that were not read for this long: 30d, 12h.",
)
@click.option(
    "--keep",
    metavar="SIZE",
    callback=_amount("--keep", _BYTES, "10GB"),
    help="Remove entries, the longest unread first, until the cache is at most this large: 10GB.",
)
@click.option("--damaged", is_flag=True, help="Remove entries that were set aside as damaged.")
@click.option("--dry-run", "dry", is_flag=True, help="Remove nothing; print what would be removed.")
def prune(root: Path | None, older: float | None, keep: float | None, damaged: bool, dry: bool) -> None:
    """Remove what killed runs left, and the entries that the options name."""
    from prime_audit.cache.prune import prune as sweep

    root = cache_of(root)
    done = sweep(root, older=older, keep=None if keep is None else int(keep), damaged=damaged, dry=dry)
    for line in done.left:
        say(f"stays: {line}", err=True)
    say(
        f"{root}: {_count(len(done.entries), 'entry')} and {done.rubbish} of rubbish "
        f"{'would be ' if dry else ''}removed, {_size(done.bytes)}"
    )


def _summed(own: Sequence[Listed]) -> list[str]:
    now = time.time()
    made, used = max(one.made for one in own), max(one.used for one in own)
    return [str(len(own)), _size(sum(one.bytes for one in own)), _age(now - made), _age(now - used)]


def _count(number: int, what: str) -> str:
    return f"{number} {what if number == 1 else what[:-1] + 'ies'}"


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _age(seconds: float) -> str:
    """Say how long ago, in the largest unit that fits."""
    unit = next((u for u in ("w", "d", "h", "m") if seconds >= 2 * _SECONDS[u]), "s")
    return f"{max(0, seconds) / _SECONDS[unit]:.0f} {unit} ago"
