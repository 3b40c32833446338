"""Make a run's model again without one sharer, and compare what both models reveal of that sharer's items.

The method runs again on the community without the sharer: neighbours, search and weights are new, the seed and the
others' adapters are the run's. The sharer's adapter is in the new model with no weight at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prime_audit.audit.pool import Pool
from prime_audit.audit.signals import mean_nll
from prime_audit.community.build import Community
from prime_audit.community.sharers import bank_name
from prime_audit.engine.mixture import BASE
from prime_audit.errors import PartError, UserError, unknown
from prime_audit.folder import Run
from prime_audit.games.exam.queries import Reader, sharers_items
from prime_audit.plugins import Personal
from prime_audit.plugins.loading import available
from prime_audit.runs.account import describe, model_row
from prime_audit.runs.ledger import Ledger
from prime_audit.runs.rebuild import Again, plan_of, rebuilt


@dataclass(frozen=True)
class Standing:
    """What one model says of the sharer's items, beside those of the sharers that neither model merges."""

    gain: float | None
    """Mean over the items of NLL under the unmerged base minus NLL under the model: nats a token; None: no items."""
    below: int
    """How many of those sharers have a lower gain."""
    others: int
    """How many there are."""

    @property
    def p(self) -> float | None:
        """Rank p: (1 + others whose gain is not lower) / (1 + others), so at least 1 / (1 + others); None: no items.

        Exact if the sharer is exchangeable with these others. They were not drawn at random: a sharer who
        is more similar to the target may be above the others for that alone.
        """
        return None if self.gain is None else (1 + self.others - self.below) / (1 + self.others)


@dataclass(frozen=True, kw_only=True)
class Unlearnt:
    """One target's model, made without a sharer."""

    sharer: str
    merged: bool
    """Whether the run's model had merged the sharer."""
    row: Mapping[str, Any]
    """The new model, as a line of ``models.jsonl``."""
    adapters: Mapping[str, Any]
    """Adapter of the bank → where it came from, as in a record's community."""
    before: Standing
    """Under the run's model."""
    after: Standing
    """Under the new one."""
    items: int
    """The sharer's items in the comparison: examples of the last trained ones, as in the inclusion game."""
    copies: int
    """How many have the words of an item that a sharer of the new model was trained on."""


def unlearn(
    run: Run,
    task: str,
    core: str,
    target: str,
    sharer: str,
    *,
    plugins: Sequence[Path] = (),
    cache: Path | None = None,
    sharers: Path | None = None,
    base_adapter: Path | None = None,
    quiet: bool = False,
) -> Unlearnt:
    """Make the model of ``core`` for a target once more, without ``sharer``; the other targets' models as well.

    UserError for an unknown sharer, for a method that merges no sharers, where the method needs more sharers than are
    left, and where base, data or adapters are no longer those of the run.
    """
    known = [s["user"] for s in run.record.community.get(task, {}).get("sharers", ())]
    if sharer not in known:
        raise unknown(f"sharer of {task}", sharer, map(str, known))
    rows = [r for r in run.models() if (r["task"], r["method"]) == (task, core) and "game" not in r]
    if not any(row["sharers"] for row in rows):
        raise UserError(f"--without {sharer}: {core} merges no sharers on {task}; leave --without out")
    spec, ledger = run.record.spec, Ledger(quiet=quiet)
    games = [name for name in spec["games"] if name in available("game", plugins)]
    plan = plan_of({**spec, "games": games}, ["loss"], plugins, sharers, base_adapter)  # no attack is played
    with ledger.showing():
        (again,) = rebuilt(run, plan, [task], cache, ledger)
        again.prepare()
        community = next(c.community for c in again.chunks if target in {u.id for u in c.community.targets})
        community.ready()
        before = again.as_run(community, core)[target]
        _require_same(run, again, before)
        after = again.anew(community.without(sharer), core)[target]
        _require_gone(again, core, sharer, after)
        pool = sharers_items(community)
        standings = _standings(community, pool, sharer, [before, after])
    own = np.flatnonzero(pool.last & pool.of([sharer]))
    return Unlearnt(
        sharer=sharer,
        merged=sharer in before.sharers,
        row=model_row(task, core, target, after, again.engine.bank, None),
        adapters=describe(community).get("adapters", {}),
        before=standings[0],
        after=standings[1],
        items=own.size,
        copies=sum(bool({*pool.twins[r]} & {*after.sharers}) for r in own.tolist()),
    )


def _require_same(run: Run, again: Again, model: Personal) -> None:
    """Raise UserError where an adapter of the rebuilt community is not the run's."""
    community, bank = again.community, again.engine.bank
    known = run.record.community.get(again.task.name, {}).get("adapters", {})
    for name in model.mixture.names:
        origin = community.origins.get(bank.hashes[name])
        if name in known and (origin is None or origin.sha256 != known[name]["sha256"]):
            raise UserError(
                f"{again.task.name}: the adapters came out different from the run's: other machine or libraries? "
                "rerun compare"
            )


def _require_gone(again: Again, core: str, sharer: str, model: Personal) -> None:
    """Raise PartError where a method that was not given the sharer merges their adapter all the same."""
    own, bank = bank_name(sharer), again.engine.bank
    parts = {part for name in model.mixture.names for part in (name, *bank.made_of.get(name, ()))}
    if sharer in model.sharers or own in parts:
        raise PartError(f"method {core} merges {sharer} although the community has no such sharer")


def _standings(community: Community, pool: Pool, sharer: str, models: Sequence[Personal]) -> list[Standing]:
    """Compare the sharer's items with those of sharers that no model merges, under each model."""
    people = dict.fromkeys(pool.owners)
    outside = [p for p in people if p != sharer and not any(p in model.sharers for model in models)]
    rows = {p: np.flatnonzero(pool.last & pool.of([p])) for p in (sharer, *outside)}
    flat = np.concatenate(list(rows.values()))
    if not rows[sharer].size:
        return [Standing(None, 0, len(outside)) for _ in models]
    reader, mixtures = Reader(community, pool, ()), [BASE, *(model.mixture for model in models)]
    seen = reader.observe("signals (without)", [reader.probes(m, flat.tolist()) for m in mixtures])
    base, *others = [mean_nll(own.logprobs) for own in seen]
    cuts = np.cumsum([r.size for r in rows.values()])[:-1]
    found = []
    for nll in others:
        own, *rest = [float(part.mean()) for part in np.split(base - nll, cuts)]
        found.append(Standing(own, sum(gain < own for gain in rest), len(rest)))
    return found
