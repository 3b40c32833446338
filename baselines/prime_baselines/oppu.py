"""One LoRA per user, trained on the target's own history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prime_audit.engine.mixture import alone
from prime_audit.plugins import Param, Personal, Scene, method

if TYPE_CHECKING:
    from prime_audit.engine.train import Recipe

RECIPE = Param(
    "recipe",
    "sharers",
    "sharers: as the sharers' adapters are trained; oppu: as in OPPU's release (q and v only, 2 epochs, batch 16, "
    "rate 1e-4, linear with 10 % warm-up), without its training list that is never reset",
    ("sharers", "oppu"),
)


@method(source="Tan et al. 2024b (OPPU); PROTOCOL of PriME, Table 1", params=(RECIPE,))
def personalise(scene: Scene, *, recipe: str) -> dict[str, Personal]:
    """Train one LoRA on each target's own history."""
    community = scene.community
    how, lora = _recipe(scene, recipe)
    users = [user for user in community.targets if user.history]
    own = community.train_own(users, how, lora=lora, stage="own adapters")
    names = {user: f"own:{recipe}:{user}" for user in own}
    scene.engine.bank.add({names[user]: adapter for user, adapter in own.items()})
    return {user: Personal(alone(names[user])) for user in own}


def _recipe(scene: Scene, recipe: str) -> tuple[Recipe, dict[str, Any]]:
    from prime_audit.engine.train import Recipe

    settings, task = scene.settings, scene.task.name
    lora = {key: settings.get(f"lora.{key}", task) for key in ("rank", "alpha", "dropout")}
    if recipe == "sharers":
        return Recipe(**settings.recipe("sharer", task)), lora
    released = Recipe(batch=16, lr=1e-4, epochs=2, clip=0.3, schedule="linear", warmup=0.1)
    return released, {**lora, "modules": ("q_proj", "v_proj")}
