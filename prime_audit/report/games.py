"""What a report says of a game: as the record has it of its plugin, else as it is installed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from prime_audit.plugins.contracts import Exposed
from prime_audit.plugins.loading import known_game


@dataclass(frozen=True)
class GameNote:
    """One game, for a reader."""

    drawn: bool = False
    """Whether its members were drawn at random: only then can its verdict be *leaks*."""
    says: str | None = None
    """What its verdict can say, in one line; None for an unknown game."""
    samples: bool = False
    """Whether the setting nonmember_items samples its non-members."""
    exposes: str = "sharers"
    """Whose data its *leaks* would expose."""
    whole: bool = False
    """Whether its members are people, drawn anew for every target."""


def note_of(name: str | None, plugins: Mapping[str, Mapping[str, Any]] | None = None) -> GameNote:
    """Look a game up in the record's ``plugins``; where they say nothing of its design, among the installed games.

    An older record does not have the design of its games.
    """
    found = (plugins or {}).get(f"game {name}", {})
    game = None if {"randomised", "exposes", "whole"} <= set(found) else known_game(name)
    exposes = str(found.get("exposes", game.exposes if game else GameNote.exposes))
    if exposes not in get_args(Exposed):  # of a later version
        exposes = GameNote.exposes
    if "randomised" not in found and game:
        return GameNote(game.design.randomised, game.says, game.samples, exposes, game.design.whole)
    says = found.get("says")
    return GameNote(
        found.get("randomised") is True,
        str(says) if says else None,
        found.get("samples") is True,
        exposes,
        found.get("whole", game.design.whole if game else False) is True,
    )
