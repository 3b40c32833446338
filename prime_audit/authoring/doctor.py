"""Does a plugin keep its contract: checks of any attack, game or method, each with its remedy.

An attack is examined on simulated signals and a game on simulated items, both without torch; a method on a tiny world.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prime_audit.authoring.check import Check, in_line
from prime_audit.authoring.doctor_attack import examine_attack
from prime_audit.errors import UserError
from prime_audit.plugins import Attack, Game, Method
from prime_audit.plugins.loading import KINDS, find, load


def examine(name: str, plugins: Sequence[Path] = ()) -> list[Check]:
    """Examine a plugin by name; UserError for an unknown name.

    A check that cannot be made because an earlier one failed is left out.
    """
    found = find(name, plugins)
    try:
        plugin = load(KINDS[found.kind], name, plugins)
    except UserError as fault:
        return [Check("loads", False, in_line(fault), "fix the file; see docs/how-to")]
    first = Check("loads", True, f"{found.kind} from {found.origin}")
    if isinstance(plugin, Attack):
        return [first, *examine_attack(plugin)]
    if isinstance(plugin, Game):
        from prime_audit.authoring.doctor_game import examine_game

        return [first, *examine_game(plugin)]
    from prime_audit.authoring.doctor_method import examine_method

    assert isinstance(plugin, Method)
    return [first, *examine_method(plugin, plugins)]
