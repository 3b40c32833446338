"""One LoRA per user, trained on the target's own history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prime_audit.engine.mixture import alone
from prime_audit.plugins import Param, Personal, Scene, method

if TYPE_CHECKING:
    from prime_audit.engine.recipe import Recipe

RECIPE = Param(
    "recipe",
    "sharers",
    "sharers: as the sharers' adapters are trained; oppu: as in OPPU's release (q and v only, 2 epochs, batch 16, "
    "rate 1e-4, linear with 10 % warm-up), without its training list that is never reset",
    ("sharers", "oppu"),
)


@method(source="Tan et al. 2024b (OPPU); as run in Kim, Shin and Kim 2025, Table 1", params=(RECIPE,))
def personalise(scene: Scene, *, recipe: str) -> dict[str, Personal]:
    """Train one LoRA on each target's own history."""
    community = scene.community
    how, lora = _recipe(scene, recipe)
    users = [user for user in community.targets if user.history]
    names = {user.id: f"own:{recipe}:{user.id}" for user in users}
    # With oppu under two labels in one run, the bank has them already.
    if new := [user for user in users if names[user.id] not in scene.engine.bank.names]:
        own = community.train_own(new, how, lora=lora, stage="own adapters")
        scene.engine.bank.add({names[user]: adapter for user, adapter in own.items()})
    return {user: Personal(alone(name)) for user, name in names.items()}


def _recipe(scene: Scene, recipe: str) -> tuple[Recipe, dict[str, Any]]:
    from prime_audit.engine.recipe import Recipe

    settings, task = scene.settings, scene.task.name
    lora = {key: settings.get(f"lora.{key}", task) for key in ("rank", "alpha", "dropout")}
    if recipe == "sharers":
        return Recipe(**settings.recipe("sharer", task)), lora
    released = Recipe(batch=16, lr=1e-4, epochs=2, clip=0.3, schedule="linear", warmup=0.1)
    return released, {**lora, "modules": ("q_proj", "v_proj")}
