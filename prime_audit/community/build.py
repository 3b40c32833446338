"""A task's community: the adapted base, its targets, its sharers and what they trained."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from prime_audit.cache.numeric import code_sha256
from prime_audit.community.canaries import Canary, make_canaries, require_sharers
from prime_audit.community.given_adapters import GivenAdapters, chosen, load_given
from prime_audit.community.shadows import separate, shadow_name, shadows_of
from prime_audit.community.sharers import Sharer, bank_name, choose_sharers, cluster_users, cosines, eligible
from prime_audit.community.store import Gates, Store
from prime_audit.community.training import Origin, Stage, Trainer, privacy_key
from prime_audit.engine.divergence import Divergence
from prime_audit.engine.embed import Encoder
from prime_audit.engine.engine import Engine
from prime_audit.engine.lora import Adapter
from prime_audit.engine.memo import key_of
from prime_audit.engine.mixture import Mixture
from prime_audit.engine.privacy import Guarantee, Privacy, account
from prime_audit.engine.recipe import Job, Recipe, count_steps
from prime_audit.engine.unify import fitting
from prime_audit.errors import PartError, UserError
from prime_audit.lamp.data import Dataset, User
from prime_audit.lamp.prompts import Example, adaptation_examples, history_examples, item_text
from prime_audit.lamp.tasks import Task
from prime_audit.settings import Settings


@dataclass(eq=False, kw_only=True)
class Community:
    """Built step by step by a run. Methods ask it for adapters and gates, which are trained when first needed."""

    task: Task
    data: Dataset
    profiles: dict[str, str] = field(default_factory=dict)
    """User id → the profile text in front of their prompts."""
    engine: Engine
    encoder: Encoder
    settings: Settings
    seed: int
    store: Store
    stage: Stage
    privacy: Privacy | None = None
    """The guarantee of sharers' adapters; None: they are trained without noise."""
    chunk: frozenset[str] | None = None
    """Ids of the only targets that this view has; None: all."""
    included: Mapping[str, tuple[str, ...]] | None = None
    """Target → the only sharers it may merge, most similar first (the inclusion game); None: everybody."""
    withdrawn: frozenset[str] = frozenset()
    """Sharers who are none in this view."""
    adaptation: Origin | None = None
    """Origin of the adapter that was merged into the base; None: none was."""
    canaries: Mapping[str, tuple[Canary, ...]] = field(default_factory=dict)
    """Sharer → synthetic items, half of which their adapter is trained on; empty: none were made."""
    lost: dict[str, Divergence] = field(default_factory=dict)
    """Sharer whose training diverged → how. The cluster has no sharer then."""
    lost_shadows: set[str] = field(default_factory=set)
    """Names of the shadow adapters whose training diverged."""
    _shadows: dict[str, dict[str, Adapter]] = field(default_factory=dict)
    """Sharer → their shadow adapters, once they are trained."""
    _embeddings: dict[str, np.ndarray] = field(default_factory=dict)
    _examples: dict[tuple[object, ...], tuple[User, list[Example]]] = field(default_factory=dict)
    """Each user's examples, written once: games, methods and trainings share them."""

    def __post_init__(self) -> None:
        self._trainer = Trainer(
            engine=self.engine,
            store=self.store,
            settings=self.settings,
            task=self.task.name,
            seed=self.seed,
            stage=self.stage,
        )

    @property
    def targets(self) -> tuple[User, ...]:
        """Users who are personalised and tested."""
        own = self.data.targets
        if self.chunk is not None:
            own = tuple(u for u in own if u.id in self.chunk)
        if self.included is not None:
            own = tuple(u for u in own if self.included[u.id])
        return own

    @property
    def origins(self) -> dict[str, Origin]:
        """Content of an adapter, as the bank holds it → where it came from."""
        return self._trainer.origins

    @property
    def gated(self) -> bool:
        """Whether gates were trained; they read the sharers' items without noise, whatever ``privacy`` is."""
        return bool(self._trainer.trained_gates)

    def of(self, targets: Sequence[str]) -> Community:
        """Return a view for some of the targets; all views share what is trained."""
        view = copy.copy(self)
        view.chunk = frozenset(targets)
        return view

    def on(self, engine: Engine) -> Community:
        """Return a view whose sharers' adapters are those of another engine's bank.

        Adapters are trained on top of these. Not for gates: their key in the cache is that of the run's own adapters.
        """
        view = copy.copy(self)
        view.engine = engine
        view._trainer = replace(self._trainer, engine=engine)
        return view

    def including(self, included: Mapping[str, tuple[str, ...]]) -> Community:
        """Return the view for a draw that decides which sharers each target may merge.

        ``nearest`` returns only these sharers, and a target without any is no target of the view.
        """
        view = copy.copy(self)
        view.included = included
        return view

    def without(self, sharer: str) -> Community:
        """Return the view of a community that this sharer never joined; the others' adapters are what they are here."""
        view = copy.copy(self)
        view.withdrawn = self.withdrawn | {sharer}
        return view

    def number(self, key: str) -> Any:
        """Read a setting for this task."""
        return self.settings.get(key, self.task.name)

    # -- the base and similarity -------------------------------------------------------------------

    def embed(self) -> None:
        """Embed targets and candidates: the mean over each user's items (Eq. 4). Before the base is adapted."""
        # Faults of given adapters are reported before anything is computed.
        given = self.data.given.sharers if self.data.given and self.given else None
        users = [*self.targets, *(self.data.candidates if given is None else (s.user for s in given))]
        texts = [[item_text(self.task, item) for item in user.history] for user in users]
        flat = [t for own in texts for t in own]
        with self.stage("embed", len(flat)) as tick:
            key = key_of(self.engine.base, "embed", self.encoder.content(), flat)
            rows = self.store.arrays(
                key, lambda: {"rows": self.encoder.embed(flat, tick, self.store.partial(key))}
            )["rows"]
        start = 0
        for user, own in zip(users, texts, strict=True):
            self._embeddings[user.id] = rows[start : start + len(own)].mean(0)
            start += len(own)

    def adapt(self) -> None:
        """Train one LoRA on the adaptation users' questions and merge it into the base's weights.

        Given adapters were trained on the base as it is, or on one with an adapter that came with them.
        """
        if self.data.given and self.given:
            if self.given.base is not None:
                self.engine.base.merge(self.given.base)
                folder, sha256 = self.data.given.base, self.data.given.base_sha256
                self.adaptation = Origin(str(sha256), folder=folder.name if folder else "")
            return
        examples = [
            e for u in self.data.adapt for e in adaptation_examples(self.task, u, self.profiles.get(u.id))
        ]
        if examples:
            recipe = self._trainer.recipe("adaptation")
            made, lost = self._trainer.adapters("adapt", [_job("base", examples)], recipe)
            if lost:
                raise UserError(f"{self.task.name}: {lost[0].line('adaptation.lr')}")
            self.engine.base.merge(made["base"])
            self.adaptation = self.origins[made["base"].content]

    def require_able(self) -> None:
        """Refuse canaries and shadow adapters that the community is too small for; before anything is trained."""
        if self.number("canaries"):
            require_sharers(self.task.name, self.sharers)
        for sharer in self.sharers:
            self.shadows(sharer)

    def make_canaries(self, data: Dataset) -> None:
        """Make the canaries that the setting asks for; ``data`` are everybody's, with what games hold back.

        After the base is adapted, and before anything is trained for the sharers.
        """
        if count := self.number("canaries"):
            self.canaries = make_canaries(
                self.task,
                data,
                self.sharers,
                count,
                engine=self.engine,
                stage=self.stage,
                seed=self.seed,
                texts=self.profiles.values(),
            )

    @cached_property
    def given(self) -> GivenAdapters | None:
        """Adapters that were trained elsewhere, checked against the base; None where the run trains them."""
        if self.data.given is None:
            return None
        usual = self.settings.get("lora.modules")
        found = load_given(self.data.given, self.engine.base, self._trainer.lora(), usual)
        self.origins.update(found.origins)
        return found

    @property
    def sharers(self) -> tuple[Sharer, ...]:
        """Who shares; empty where no history is long enough.

        A sharer whose training diverges is listed until it is tried (``ready``, ``nearest``), and not afterwards.
        """
        gone = self.lost.keys() | self.withdrawn
        return tuple(s for s in self._chosen if s.user.id not in gone)

    @cached_property
    def _chosen(self) -> tuple[Sharer, ...]:
        if given := self.data.given:
            rows = np.stack([self._embeddings[s.user.id] for s in given.sharers])
            override = partial(self.settings.override, task=self.task.name)
            return chosen(given, override, partial(self._clusters, rows))
        users, least = [u for u in self.data.candidates if u.history], self.number("min_history")
        everybody = False
        if self.number("clustered") == "eligible":
            users = eligible(users, least)
            everybody = len(users) <= self.number("clusters")
        if not users:
            return ()
        return choose_sharers(
            users,
            np.arange(len(users))
            if everybody
            else self._clusters(np.stack([self._embeddings[u.id] for u in users])),
            min_history=least,
            heldout=self.number("heldout"),
            seed=self.seed,
        )

    def _clusters(self, embeddings: np.ndarray) -> np.ndarray:
        """Cluster users by their embeddings, float64 [users, d] -> int [users]."""
        count, seed = self.number("clusters"), self.seed
        asked = (embeddings.shape, str(embeddings.dtype), count, seed)
        numbers = hashlib.sha256(embeddings.tobytes()).hexdigest()
        key = key_of(self.engine.base, "clusters", code_sha256("sharers"), numbers, asked)
        return self.store.arrays(key, lambda: {"own": cluster_users(embeddings, count, seed)})["own"]

    def similarity(self, target: str) -> np.ndarray:
        """Cosine of a target with every sharer, float64 [sharers]."""
        return cosines(
            self._embeddings[target], np.stack([self._embeddings[s.user.id] for s in self.sharers])
        )

    def nearest(self, target: str, k: int) -> tuple[str, ...]:
        """Ids of the k sharers most similar to a target, most similar first (Eq. 5); UserError if there are fewer.

        With k = 0 all sharers; in a view of ``including`` all that the draw allows, whatever k. The sharers are
        trained first, because one whose training diverges is no neighbour.
        """
        if self.included is not None:
            return self.included[target]
        _require_enough(self, k)  # before anything is trained for them
        self.ready()
        count = _require_enough(self, k)
        order = np.argsort(-self.similarity(target), kind="stable")[:count]
        return tuple(self.sharers[i].user.id for i in order)

    # -- what is trained ---------------------------------------------------------------------------------

    def ready(self) -> None:
        """Put every sharer's adapter into the bank, named by :func:`~community.sharers.bank_name`."""
        missing = [s for s in self.sharers if bank_name(s.user.id) not in self.engine.bank.names]
        if self.given:
            names = [bank_name(s.user.id) for s in missing]
            self.engine.bank.add({name: self.given.adapters[name] for name in names})
            self.given.adapters.clear()  # the bank has what it needs of them
        elif missing:
            made, lost = self._shared("share", missing, canaries=True)
            owners = {bank_name(s.user.id): s.user.id for s in missing}
            self.lost.update({owners[d.owner]: d for d in lost})
            if not self.sharers:
                raise UserError(f"{self.task.name}: no sharer is left: {lost[0].line('sharer.lr')}")
            self.engine.bank.add(made)

    def without_canaries(self) -> dict[str, str]:
        """Train the sharers' adapters without canaries, too: sharer → the bank's name; not those that diverge."""
        made, _ = self._shared("share (without canaries)", self.sharers, canaries=False)
        names = {s.user.id: f"without canaries:{s.user.id}" for s in self.sharers}
        found = {who: name for who, name in names.items() if bank_name(who) in made}
        self.engine.bank.add({name: made[bank_name(who)] for who, name in found.items()})
        return found

    def _shared(
        self, stage: str, sharers: Sequence[Sharer], *, canaries: bool
    ) -> tuple[dict[str, Adapter], list[Divergence]]:
        jobs = [
            _job(
                bank_name(s.user.id),
                [*self.trained_examples(s), *(self._trained_canaries(s) if canaries else ())],
            )
            for s in sharers
        ]
        return self._trainer.adapters(stage, jobs, self._trainer.recipe("sharer"), privacy=self.privacy)

    def _trained_canaries(self, sharer: Sharer) -> list[Example]:
        return [c.example for c in self.canaries.get(sharer.user.id, ()) if c.trained]

    def guarantee(self, sharer: Sharer) -> Guarantee | None:
        """Return the guarantee of a sharer's adapter, for each of their items; None without ``privacy``."""
        recipe, items = (
            self._trainer.recipe("sharer"),
            len(sharer.trained) + len(self._trained_canaries(sharer)),
        )
        return account(items, recipe, self.privacy) if self.privacy else None

    def train_own(
        self,
        users: Sequence[User],
        recipe: Recipe,
        *,
        lora: dict[str, Any],
        stage: str,
        onto: Mapping[str, Mixture] | None = None,
    ) -> dict[str, Adapter]:
        """Train one adapter per user on their own history (OPPU), by the sharers' recipe or another.

        ``onto``: user → what their adapter is trained on top of, frozen; by default the base alone. The adapters have
        the bank's rank and scaling, where it has any. Raises PartError where one of them diverges: that user has no
        model then.
        """
        jobs = [_job(u.id, self.user_examples(u)) for u in users]
        made, lost = self._trainer.adapters(stage, jobs, recipe, lora=lora, onto=onto)
        if lost:
            raise PartError(f"{self.task.name}: {lost[0].line()}")
        bank = self.given or (self.engine.bank if self.engine.bank.names else None)
        if bank is None:
            return made
        fitted = {user: fitting(a, bank.rank, bank.scaling) for user, a in made.items()}
        self.origins.update({fitted[user].content: self.origins[a.content] for user, a in made.items()})
        return fitted

    def keep(
        self, kind: str, what: dict[str, Any], names: Sequence[str], make: Callable[[], dict[str, Adapter]]
    ) -> dict[str, Adapter]:
        """Make adapters out of others once: ``what`` is all that decides them, besides the base."""
        return self._trainer.derived(kind, what, names, make)

    def gates(self) -> Gates:
        """Per-Pcs gates by bank name, trained on each sharer's own examples with their adapter frozen.

        Without noise, even where the adapters have it: what is assembled by gates has no ε.
        """
        self.ready()
        jobs = [_job(bank_name(s.user.id), self.trained_examples(s)) for s in self.sharers]
        adapters: dict[str, Any] = {
            "sharer": asdict(self._trainer.recipe("sharer")),
            "lora": self._trainer.lora(),
        }
        if self.canaries:
            adapters["canaries"] = [[e.text for e in self._trained_canaries(s)] for s in self.sharers]
        if self.given:  # no recipe describes them
            adapters = {"given": [self.engine.bank.hashes[j.owner] for j in jobs]}
        recipe = self._trainer.recipe("gate")
        return self._trainer.gates(jobs, recipe, adapters | privacy_key(self.privacy))

    # -- shadows -----------------------------------------------------------------------------------------

    def shadows(self, sharer: Sharer) -> list[Sharer]:
        """Return the sharer as each of their shadow adapters knows them; none where the run has no shadows.

        UserError where the items in play carry fewer shadows than the run asks for.
        """
        return shadows_of(sharer, count, self.seed) if (count := self.number("shadows")) else []

    def train_shadows(self) -> None:
        """Train every sharer's shadow adapters, once; each sharer's are an entry of the cache, all are in memory."""
        self.ready()
        if self._shadows:
            return
        recipe, jobs = self._trainer.recipe("sharer"), {s.user.id: self._shadow_jobs(s) for s in self.sharers}
        with self.stage("shadows", sum(count_steps(own, recipe) for own in jobs.values())) as tick:
            for user, own in jobs.items():
                self._shadows[user], lost = self._trainer.trained(own, recipe, tick, privacy=self.privacy)
                self.lost_shadows.update(d.owner for d in lost)

    def with_shadows(self, sharer: str) -> Engine:
        """Return an engine whose bank also has a sharer's shadow adapters, but those whose training diverged."""
        self.train_shadows()
        bank = separate(self.engine.bank)
        bank.add(self._shadows[sharer])
        return replace(self.engine, bank=bank)

    def _shadow_jobs(self, sharer: Sharer) -> list[Job]:
        return [
            _job(
                shadow_name(sharer.user.id, number),
                [*self.trained_examples(own), *self._trained_canaries(sharer)],
            )
            for number, own in enumerate(self.shadows(sharer))
        ]

    # -- examples ----------------------------------------------------------------------------------------

    def trained_examples(self, sharer: Sharer) -> list[Example]:
        """List what a sharer's adapter is trained on; held-out items appear nowhere in it.

        Under ``privacy`` each item gives its plain example only: an augmented one carries other items' text, and ε
        protects single items.
        """
        if self.privacy:
            return history_examples(self.task, sharer.user, items=sharer.trained, augmented=False)
        return self.user_examples(sharer.user, sharer.trained)

    def user_examples(self, user: User, only: Sequence[str] | None = None) -> list[Example]:
        """Training examples of a user's items (``only`` these ids), plain and augmented (Table 12)."""
        profile = self.profiles.get(user.id)
        key = (id(user), profile, None if only is None else frozenset(only))
        if key not in self._examples:
            found = history_examples(self.task, user, profile=profile, items=only, pool=only)
            self._examples[key] = (user, found)  # holding the user keeps their id() unique
        return list(self._examples[key][1])

    def last_examples(self, user: User, only: Sequence[str] | None = None) -> list[Example]:
        """List the examples of a user's last items (``last_items``), as searches and the paper's game use them."""
        some = None if only is None else set(only)
        ids = [i.id for i in user.history if some is None or i.id in some]
        last = set(ids[-self.number("last_items") :])
        return [e for e in self.user_examples(user, only) if e.item in last]


def _require_enough(community: Community, k: int) -> int:
    """Return how many sharers ``k`` asks for (0: all); UserError where there are fewer."""
    there, count = len(community.sharers), k or max(1, len(community.sharers))
    if count > there:
        gone = f" ({len(community.lost)} more diverged in training)" if community.lost else ""
        raise UserError(
            f"{community.task.name}: {count} sharers asked for, but the community has {there}{gone}; lower k, raise "
            "--set clusters=N, lower --set min_history=N (a sharer has more than "
            f"{community.number('min_history')} items), or bring more candidates with as many"
        )
    return count


def _job(owner: str, examples: Sequence[Example]) -> Job:
    if not examples:
        raise UserError(f"user {owner}: no item to train on")
    return Job(owner, tuple((e.prompt, e.gold) for e in examples), tuple(e.item for e in examples))
