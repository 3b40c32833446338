"""What a game found on one method's models: the parts of a record, and the rows of ``scores.jsonl``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from prime_audit.audit.design import Dealt
from prime_audit.audit.judge import Judged, Scored
from prime_audit.audit.mean_auc import TargetScores
from prime_audit.audit.pool import Pool
from prime_audit.errors import PartError
from prime_audit.games.exam.controls import CONTROLS, both_sides
from prime_audit.games.exam.stored import Pass
from prime_audit.plugins import Game
from prime_audit.record import Comparison, Failure, Leak, Result


@dataclass(frozen=True, eq=False, kw_only=True)
class Played:
    """One game on one pass, judged."""

    game: Game
    one: Pass
    pool: Pool
    dealt: Sequence[Dealt] = ()
    """The targets it could be played on; empty where it does not apply to this method."""
    scored: Mapping[str, Scored] = field(default_factory=dict)
    silent: Mapping[str, str]
    """Attack → why it has no figure."""
    judged: Sequence[Judged] = ()
    failed: Mapping[str, PartError] = field(default_factory=dict)
    """Attack → what it failed by; ``silent`` says so too."""
    records: Sequence[Mapping[str, object]] = ()
    """Records with shadow adapters, and how vulnerable each is (``vulnerable.vulnerable``)."""

    def _of(self, task: str, label: str, attack: str) -> dict[str, Any]:
        """Name a figure: the fields that all parts of a record have in common."""
        return {"task": task, "method": label, "game": self.game.name, "attack": attack}

    def results(self, task: str, label: str) -> Iterator[Result]:
        """Yield the AUC and its controls of every attack, under a method's label."""
        for one in self.judged:
            figures = {"auc": one.estimate, **{f"auc_{name}": e for name, e in one.controls.items()}}
            for metric, e in figures.items():
                yield Result(
                    **self._of(task, label, one.attack),
                    metric=metric,
                    value=e.value,
                    ci=e.ci,
                    n=e.n,
                    reason=e.reason,
                    targets=len(e.per_target),
                    member_sharers=e.member_sharers,
                    se=e.se,
                    freedom=e.freedom,
                )
        for attack, metric, why in self._without():
            named = self._of(task, label, attack)
            yield Result(**named, metric=metric, value=None, ci=None, n=0, reason=why)

    def faults(self, task: str) -> Iterator[tuple[Failure, PartError]]:
        """Yield each attack that failed: where, and by what."""
        where = Failure(
            task=task, stage=f"game {self.game.name}", method=self.one.method, targets=len(self.dealt)
        )
        for attack, fault in self.failed.items():
            yield replace(where, attack=attack), fault

    def _without(self) -> Iterator[tuple[str, str, str]]:
        """Yield what has a reason instead of a figure: attack, metric, why."""
        for scored in self.scored.values():
            for name, why in scored.silent.items():
                yield scored.attack, f"auc_{name}", why
        for attack, why in self.silent.items():
            for metric in ("auc", "auc_base", *(f"auc_{name}" for name in CONTROLS)):
                yield attack, metric, why

    def comparisons(self, task: str, label: str) -> Iterator[Comparison]:
        """Yield each attack's AUC minus the unmerged base's."""
        for one in self.judged:
            if (gap := one.base_difference) is not None:
                yield Comparison(
                    **self._of(task, label, one.attack),
                    baseline="base",
                    metric="auc",
                    difference=gap.value,
                    ci=gap.ci,
                    n=gap.n,
                    reason=gap.reason,
                    se=gap.se,
                    freedom=gap.freedom,
                )

    def leaks(self, task: str, label: str) -> Iterator[Leak]:
        """Yield the panel of every attack: what is shown beside the AUC, and the verdict."""
        for one in self.judged:
            best, dealt, tests = one.best, self._dealt(one.attack), one.tests
            yield Leak(
                **self._of(task, label, one.attack),
                auc=one.estimate.value,
                ci=one.estimate.ci,
                verdict=one.verdict.word,
                why=one.verdict.reason,
                p=one.p_deciding,
                p_adjusted=one.p_adjusted,
                best_control=best.name if best else None,
                over_control=best.difference.value if best else None,
                over_control_ci=best.difference.ci if best else None,
                tpr=dict(one.tpr),
                members=sum(int(d.members.sum()) for d in dealt),
                others=sum(int((~d.members).sum()) for d in dealt),
                undefined=one.undefined,
                undefined_base=one.undefined_base,
                both_sides=sum(_on_both_sides(self.pool, d, self.one.merged[d.target]) for d in dealt),
                epsilon=one.epsilon.value if one.epsilon else None,
                epsilon_ceiling=one.epsilon.ceiling if one.epsilon else None,
                q=one.p_adjusted,
                p_auc=tests.p_auc if tests else None,
                p_base=tests.p_base if tests else None,
                p_tail=tests.p_tail if tests else None,
                p_people=tests.p_people if tests else None,
                tail=tests.tail if tests else None,
                excluded=tests.excluded if tests else None,
                detectable=tests.detectable if tests else None,
                relabellings=tests.n if tests else None,
                duplicate=self.scored[one.attack].duplicate,
                p_already=tests.adjusted_already if tests else None,
                q_already=tests.adjusted_already if tests else None,
                p_reversed=tests.adjusted_reversed if tests else None,
            )

    def _dealt(self, attack: str) -> list[Dealt]:
        """List the targets with scores of an attack."""
        return [d for d in self.dealt if d.target in self.scored[attack].scores]

    def panels(self, attack: str) -> list[TargetScores]:
        """Return an attack's scores, a panel a target."""
        scores = self.scored[attack].scores
        return [d.panel(scores[d.target]) for d in self._dealt(attack)]

    def vulnerable(self, task: str) -> Iterator[dict[str, object]]:
        """Yield the rows of ``vulnerability.jsonl``; ``method`` is the pass's, whatever its labels."""
        for row in self.records:
            yield {"task": task, "method": self.one.method, "game": self.game.name, **row}

    def rows(self, task: str) -> Iterator[dict[str, object]]:
        """Yield the rows of ``scores.jsonl``; ``method`` is the pass's, whatever its labels."""
        named = {"task": task, "method": self.one.method, "game": self.game.name}
        for scored in self.scored.values():
            for d in self._dealt(scored.attack):
                columns = d.rows.tolist(), d.owners, d.members.tolist(), scored.scores[d.target].tolist()
                for row, owner, member, score in zip(*columns, strict=True):
                    yield {
                        **named,
                        "attack": scored.attack,
                        "target": d.target,
                        "sharer": owner,
                        "item": self.pool.ids[row],
                        "member": member,
                        "score": score,
                    }


def _on_both_sides(pool: Pool, dealt: Dealt, merged: Sequence[str]) -> int:
    """Count one target's items that membership does not separate.

    Members whose text is also a non-member's, and non-members whose text is also a member's, or an item that the
    target's own model or a merged sharer's adapter was trained on although they are not in play.
    """
    texts = [f"{pool.prompts[r]} {pool.golds[r]}" for r in dealt.rows]
    inside, outside = both_sides(texts, dealt.members)
    trainers = {dealt.target, *merged}
    rows = zip(dealt.rows.tolist(), dealt.members.tolist(), outside.tolist(), strict=True)
    seen = sum(not member and (twin or bool(trainers & set(pool.twins[r]))) for r, member, twin in rows)
    return int(np.count_nonzero(inside)) + int(seen)
