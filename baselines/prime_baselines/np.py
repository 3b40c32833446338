"""Non-personalised: the adapted base as it is."""

from __future__ import annotations

from prime_audit.engine.mixture import Mixture
from prime_audit.plugins import Personal, Scene, method


@method(source="PriME, Table 1 (NP)")
def personalise(scene: Scene) -> dict[str, Personal]:
    """Give every target the adapted base, nothing merged and nothing in front of the prompt."""
    return {user.id: Personal(Mixture()) for user in scene.community.targets}
