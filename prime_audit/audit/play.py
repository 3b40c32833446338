"""Playing a game: signals from the model, scores from the attacks, an AUC with its controls beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prime_audit.audit.games import Game
from prime_audit.audit.panels import AucEstimate, Panel, mean_auc_ci, mean_auc_difference
from prime_audit.record import Comparison, Result


@dataclass(frozen=True, eq=False)
class Items:
    """The items a game is played on: examples of every sharer, the same for every target."""

    sharers: Sequence[str]
    """Whose item it is, [items]."""
    ids: Sequence[str]
    """Example ids, [items]."""
    prompts: Sequence[str]
    golds: Sequence[str]


@dataclass(frozen=True, eq=False)
class Played:
    """One method's games: a score per target and item."""

    task: str
    method: str
    attack: str
    games: Sequence[Game]
    """One a target."""
    scores: Mapping[str, np.ndarray]
    """Target → scores [items], higher = member; only targets whose game can be played."""
    controls: Mapping[str, Mapping[str, np.ndarray]]
    """Control (``base``, ``length``, ``similarity``) → target → scores [items]."""

    def panels(self, items: Items, scores: Mapping[str, np.ndarray]) -> list[Panel]:
        """One panel a playable target."""
        return [
            Panel(
                g.target, scores[g.target], items.sharers, np.array([s in g.members for s in items.sharers])
            )
            for g in self.games
            if g.target in self.scores
        ]


def results(
    played: Played, items: Items, game: str, seed: int, draws: int
) -> tuple[list[Result], list[Comparison]]:
    """AUC per target, averaged over targets, with its controls; intervals resample sharers and targets."""
    if not played.scores:
        why = "; ".join(dict.fromkeys(g.reason or "" for g in played.games)) or "no target has sharers"
        names = ["auc", *(f"auc_{c}" for c in played.controls)]
        return [_result(played, game, name, None, why) for name in names], []
    own = played.panels(items, played.scores)
    found = [_result(played, game, "auc", mean_auc_ci(own, n=draws, seed=seed))]
    for name, scores in played.controls.items():
        found.append(
            _result(
                played, game, f"auc_{name}", mean_auc_ci(played.panels(items, scores), n=draws, seed=seed)
            )
        )
    base = played.panels(items, played.controls["base"])
    gap = mean_auc_difference(own, base, n=draws, seed=seed)
    difference = Comparison(
        played.task, played.method, "base", "auc", gap.value, gap.ci, gap.n, gap.reason, game, played.attack
    )
    return found, [difference]


def rows(played: Played, items: Items, game: str) -> Iterator[dict[str, object]]:
    """Make the rows of ``scores.jsonl``."""
    for one in played.games:
        if one.target not in played.scores:
            continue
        for sharer, item, score in zip(items.sharers, items.ids, played.scores[one.target], strict=True):
            yield {
                "task": played.task,
                "method": played.method,
                "game": game,
                "attack": played.attack,
                "target": one.target,
                "sharer": sharer,
                "item": item,
                "member": sharer in one.members,
                "score": float(score),
            }


def _result(
    played: Played, game: str, metric: str, estimate: AucEstimate | None, reason: str | None = None
) -> Result:
    if estimate is None:
        return Result(
            played.task, played.method, metric, None, None, 0, reason=reason, game=game, attack=played.attack
        )
    return Result(
        played.task,
        played.method,
        metric,
        estimate.value,
        estimate.ci,
        estimate.n,
        reason=estimate.reason,
        targets=len(estimate.per_target),
        member_sharers=estimate.member_sharers,
        game=game,
        attack=played.attack,
    )
