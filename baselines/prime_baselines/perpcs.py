"""Per-Pcs: gated sharers' pieces, assembled module by module along one forward pass over the history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prime_audit.community.sharers import bank_name
from prime_audit.engine.mixture import Mixture
from prime_audit.engine.rules import ASSEMBLED
from prime_audit.plugins import Param, Personal, Scene, method
from prime_audit.seeds import rng_of

if TYPE_CHECKING:
    from prime_audit.engine.assemble import Unit

TOP_K = Param("top_k", "preset:perpcs.top_k", "sharers chosen at each module")
BATCH = Param("batch", "preset:perpcs.batch", "history examples that decide together")
N_SIM = Param("n_sim", "preset:perpcs.n_sim", "pool: this many most similar sharers; 0 means all")


@method(source="Tan et al. 2024a (Per-Pcs); PriME, Table 1", params=(TOP_K, BATCH, N_SIM), reads=("gate",))
def personalise(scene: Scene, *, top_k: int, batch: int, n_sim: int) -> dict[str, Personal]:
    """Assemble each target's factors from the sharers whose gates respond to the target's history."""
    from prime_audit.engine.assemble import assemble

    community = scene.community
    pools = {u.id: community.nearest(u.id, n_sim) for u in community.targets}
    gates = community.gates()
    units = [unit for user in community.targets for unit in _units(scene, user.id, pools[user.id], batch)]
    with scene.stage("assemble", len(units)) as tick:
        chosen = assemble(scene.engine, units, gates, top_k, tick)
    return {user.id: _personal(user.id, pools[user.id], units, chosen) for user in community.targets}


def _units(scene: Scene, target: str, pool: tuple[str, ...], batch: int) -> list[Unit]:
    """One shuffled epoch over the target's examples, cut into batches."""
    from prime_audit.engine.assemble import Unit

    (user,) = (u for u in scene.community.targets if u.id == target)
    examples = scene.community.user_examples(user)
    order = rng_of(scene.seed, "perpcs", target).permutation(len(examples))
    shuffled = [(examples[i].prompt, examples[i].gold) for i in order]
    names = tuple(sorted(bank_name(s) for s in pool))
    return [Unit(target, names, tuple(shuffled[i : i + batch])) for i in range(0, len(shuffled), batch)]


def _personal(target: str, pool: tuple[str, ...], units: list[Unit], chosen: list[np.ndarray]) -> Personal:
    """Average the assembled factors over batches: the factors are linear in the weights, so average those."""
    own = [(u, w) for u, w in zip(units, chosen, strict=True) if u.target == target]
    names = own[0][0].pool
    weights = np.mean([w for _, w in own], axis=0)
    # A sharer that was chosen nowhere adds exactly nothing and is no member.
    used = tuple(s for s in pool if weights[:, names.index(bank_name(s))].any())
    notes = {
        "sharers": list(pool),
        "mean_weight": [float(weights[:, names.index(bank_name(s))].mean()) for s in pool],
    }
    return Personal(Mixture(names, weights, ASSEMBLED), used, notes)
