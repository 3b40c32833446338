"""The common path of all training: adapters and gates are trained once, then read from the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any

from prime_audit.cache.numeric import code_sha256
from prime_audit.community.store import Gates, Store, content_key, place_of
from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.batches import Tick
from prime_audit.engine.branches import Frozen
from prime_audit.engine.divergence import Divergence
from prime_audit.engine.engine import Engine
from prime_audit.engine.keys import leaf_of
from prime_audit.engine.lora import Adapter
from prime_audit.engine.memo import key_of
from prime_audit.engine.mixture import Mixture
from prime_audit.engine.privacy import Privacy
from prime_audit.engine.recipe import Job, LoraShape, Recipe, count_steps
from prime_audit.engine.train import train_adapters, train_gates
from prime_audit.settings import Settings

Stage = Callable[[str, int], AbstractContextManager["Tick"]]
"""(name, units of work) → a context that shows progress and takes a count of units."""


@dataclass(frozen=True)
class Origin:
    """Where one adapter came from, so that a model can be exported long after its run."""

    sha256: str
    """Hash of its factors (trained in a run), or of its files (given)."""
    place: str = ""
    """Its folder below the cache, as a POSIX path; empty for a given one."""
    folder: str = ""
    """Name of its folder among the given ones; empty for a trained one."""

    def to_json(self) -> dict[str, str]:
        """Return what is known of it."""
        return {"sha256": self.sha256} | ({"place": self.place} if self.place else {"folder": self.folder})


@dataclass(eq=False, kw_only=True)
class Trainer:
    """Trains for one task, by the task's settings."""

    engine: Engine
    store: Store
    settings: Settings
    task: str
    seed: int
    stage: Stage
    origins: dict[str, Origin] = field(default_factory=dict)
    """Content of an adapter, as the bank holds it → where it came from."""
    trained_gates: dict[str, Gates] = field(default_factory=dict)
    """Training's key → gates: chunks and methods share them."""

    def recipe(self, part: str) -> Recipe:
        """Return the settings' recipe for a part: adaptation, sharer or gate."""
        return Recipe(**self.settings.recipe(part, self.task))

    def lora(self) -> dict[str, Any]:
        """Return the settings' form of an adapter."""
        return {key: self.settings.get(f"lora.{key}", self.task) for key in ("rank", "alpha", "dropout")}

    def adapters(
        self,
        stage: str,
        jobs: Sequence[Job],
        recipe: Recipe,
        lora: dict[str, Any] | None = None,
        privacy: Privacy | None = None,
        onto: Mapping[str, Mixture] | None = None,
    ) -> tuple[dict[str, Adapter], list[Divergence]]:
        """Train one adapter per job, or read them: the adapters, and whose training diverged (cached, too).

        ``onto``: owner → a mixture over the bank that is frozen below their adapter.
        """
        with self.stage(stage, count_steps(jobs, recipe)) as tick:
            return self.trained(jobs, recipe, tick, lora, privacy, onto)

    def trained(
        self,
        jobs: Sequence[Job],
        recipe: Recipe,
        tick: Tick,
        lora: dict[str, Any] | None = None,
        privacy: Privacy | None = None,
        onto: Mapping[str, Mixture] | None = None,
    ) -> tuple[dict[str, Adapter], list[Divergence]]:
        """Do what ``adapters`` does within a stage of the caller's, whose steps ``tick`` counts."""
        shape, names = lora or self.lora(), [job.owner for job in jobs]
        more = {"lora": shape} | privacy_key(privacy)
        if onto:
            more["onto"] = [repr(self.engine.content(onto[name])) for name in names]
        key, lost = self._key("adapters", jobs, recipe, more), list[Divergence]()

        def train() -> dict[str, Adapter]:
            return train_adapters(
                self.engine.base,
                jobs,
                LoraShape(**shape),
                recipe,
                seed=self.seed,
                tokens=self._tokens,
                tick=tick,
                privacy=privacy,
                lost=lost,
                onto=Frozen(self.engine.bank, onto) if onto else None,
                so_far=self.store.partial(key),
            )

        made = self.store.adapters(key, names, train, self.engine.base.name, lost)
        self._note(key, names, made)
        return made, lost

    def gates(self, jobs: Sequence[Job], recipe: Recipe, adapters: dict[str, Any]) -> Gates:
        """Train one set of gates per job, or read them; ``adapters``: what decided the jobs' adapters."""
        key = self._key("gates", jobs, recipe, adapters)
        if key in self.trained_gates:
            return self.trained_gates[key]
        base, bank = self.engine.base, self.engine.bank
        with self.stage("gates", count_steps(jobs, recipe)) as tick:

            def train() -> Gates:
                return train_gates(
                    base,
                    bank,
                    jobs,
                    recipe,
                    seed=self.seed,
                    tokens=self._tokens,
                    tick=tick,
                    so_far=self.store.partial(key),
                )

            self.trained_gates[key] = self.store.gates(key, [j.owner for j in jobs], train)
        return self.trained_gates[key]

    def derived(
        self, kind: str, what: dict[str, Any], names: Sequence[str], make: Callable[[], dict[str, Adapter]]
    ) -> dict[str, Adapter]:
        """Make adapters out of others, or read them; ``what`` is all that decides them, besides the base."""
        base = self.engine.base
        key = key_of(base, kind, content_key(what), tuple(names))
        made = self.store.adapters(key, names, make, base.name)
        self._note(key, names, made)
        return made

    @property
    def _tokens(self) -> int:
        return int(self.settings.get("train_tokens", self.task))

    def _note(self, key: str, owners: Sequence[str], made: Mapping[str, Adapter]) -> None:
        """Remember where a training's adapters are in the cache."""
        for number, owner in enumerate(owners):
            if owner in made:  # not where the training diverged
                content = made[owner].content
                self.origins[content] = Origin(content.partition(" ")[0], place_of(key, number))

    def _key(self, kind: str, jobs: Sequence[Job], recipe: Recipe, more: dict[str, Any]) -> str:
        """Hash all that decides a training: base, texts, recipe, seed, tokens of a pass, code, device."""
        base = self.engine.base
        return content_key(
            {
                "kind": kind,
                "base": base.fingerprint,
                "sites": [s.name for s in base.sites],
                "context": base.codec.context,
                "jobs": [[j.owner, j.examples] for j in jobs],
                "recipe": asdict(recipe),
                "seed": self.seed,
                "tokens": self._tokens,
                "code": code_sha256("engine"),
                "where": [base.device.type, str(base.dtype)],
                **more,
            }
        )


def adapters_of(
    bank: AdapterBank, origins: Mapping[str, Origin], adaptation: Origin | None, *, every: bool = False
) -> dict[str, Any]:
    """Describe a bank's adapters for the record.

    modules: the adapted projections of a layer, in the order of models' weights; adaptation: what was merged into the
    base, null where nothing was; adapters: by name in the bank, those whose origin is known (``origins``: by content);
    sites: the adapted modules by name; only where ``modules`` does not tell them, because adapters may lack some
    (``every``) or layers differ.
    """
    sites = [(site.layer, leaf_of(site.name)) for site in bank.base.sites]
    modules = dict.fromkeys(leaf for _, leaf in sites)
    alike = sites == [(layer, leaf) for layer in range(bank.base.layers) for leaf in modules]
    found = {name: origins.get(bank.hashes[name]) for name in bank.names}
    return {
        "modules": list(modules),
        "adaptation": adaptation.to_json() if adaptation else None,
        "adapters": {name: origin.to_json() for name, origin in found.items() if origin},
    } | ({"sites": [site.name for site in bank.base.sites]} if every or not alike else {})


def privacy_key(privacy: Privacy | None) -> dict[str, Any]:
    """Return what privacy adds to a training's key: nothing where there is none."""
    return {"privacy": asdict(privacy), "private": code_sha256("private training")} if privacy else {}
