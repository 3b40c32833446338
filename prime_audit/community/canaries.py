"""Canaries: synthetic items of a sharer, half of them trained on by lot, for the worst case of what training remembers.

Three designs, in equal parts (Carlini et al. 2019 insert random secrets; Panda et al. 2025 propose the first two):

* ``unused``: the gold is one token that occurs in no user's data, ``SECRET`` times. The prompt has the task's form,
  with words drawn from the sharer's trained items.
* ``unlikely``: such a prompt; the gold is the ``SECRET`` tokens that the base finds least likely after it, of
  ``CANDIDATES`` tokens drawn at random. No token is part of two canaries.
* ``near``: one of the sharer's own trained items with up to ``CHANGED`` words exchanged, so that it is no user's item.

Of each sharer's canaries of each design exactly half are drawn to be trained on. A canary gives one plain example: it
is in no history, so nothing retrieves it, no profile or question is made of it, and no other game asks for it. Those
not trained on are seen by the audit alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from prime_audit.audit.verdict import MIN_SHARERS
from prime_audit.community.held import asked
from prime_audit.community.sharers import Sharer
from prime_audit.engine.mixture import BASE, Continuation, Probe
from prime_audit.errors import UserError
from prime_audit.lamp.data import Dataset, Item
from prime_audit.lamp.prompts import Example, history_examples
from prime_audit.lamp.tasks import Task
from prime_audit.seeds import rng_of

if TYPE_CHECKING:
    from prime_audit.community.training import Stage
    from prime_audit.engine.codec import Codec
    from prime_audit.engine.engine import Engine

DESIGNS = ("unused", "unlikely", "near")
SECRET = 3
"""Tokens of a gold that is made up."""
CANDIDATES = 256
"""Tokens of which the base's least likely are taken."""
CHANGED = 3
"""The most words that differ between a near-duplicate and its item; at most a quarter of its words, at least one."""
LONGEST = 30
"""The most words of a prompt that is made up."""
_TRIES = 100


@dataclass(frozen=True)
class Canary:
    """One synthetic item."""

    example: Example
    """What is trained on, or only asked for; its item's id is ``canary/DESIGN/NUMBER``."""
    design: str
    """One of ``DESIGNS``."""
    trained: bool
    """Whether the sharer's adapter is trained on it."""


def require_sharers(task: str, sharers: Sequence[Sharer]) -> None:
    """Refuse a community that is too small for a verdict on its canaries; UserError."""
    if len(sharers) < MIN_SHARERS:
        raise UserError(
            f"{task}: canaries need at least {MIN_SHARERS} sharers for a verdict, and the community has "
            f"{len(sharers)}; raise --set clusters=N, lower --set min_history=N, or leave the canaries out"
        )


def make_canaries(
    task: Task,
    data: Dataset,
    sharers: Sequence[Sharer],
    count: int,
    *,
    engine: Engine,
    stage: Stage,
    seed: int,
    texts: Iterable[str] = (),
) -> dict[str, tuple[Canary, ...]]:
    """Make ``count`` canaries for every sharer, a third of each design; decided by the seed, the data and the base.

    ``engine`` has the adapted base. ``data`` are everybody's, with what is held out of anyone; ``texts`` are further
    ones that a model may see (profiles): an unused token is in none of them. Raises UserError where the tokenizer has
    too few tokens for them, or a sharer's items are too alike for a near-duplicate.
    """
    codec, each = engine.base.codec, count // len(DESIGNS)
    makers = {s.user.id: _Maker(task, s, seed) for s in sharers}
    tokens = _words_of_one_token(codec, task)
    seen = _tokens_of(codec, task, data, texts)
    order = rng_of(seed, "canary tokens", task.name).permutation(sorted(tokens)).tolist()
    needed = len(sharers) * each
    unused = [token for token in order if token not in seen][:needed]
    if len(unused) < needed:
        raise _too_few(task, f"{len(unused)} tokens that occur in no user's data", needed)
    free, spare = iter(unused), [token for token in order if token not in set(unused)]
    golds = {(n, k): " ".join([tokens[next(free)]] * SECRET) for n in makers for k in range(each)}
    unlikely = _unlikely(makers, each, tokens, spare, engine=engine, stage=stage)
    known = {i.words for u in (*data.adapt, *data.targets, *data.candidates) for i in u.history}
    made = dict[str, tuple[Canary, ...]]()
    for name, maker in makers.items():
        items = {
            "unused": [maker.item("unused", k, golds[name, k]) for k in range(each)],
            "unlikely": [maker.item("unlikely", k, unlikely[name, k]) for k in range(each)],
            "near": [*maker.near(each, known)],
        }
        made[name] = tuple(maker.canaries(items))
    return made


@dataclass(frozen=True)
class _Maker:
    """Makes one sharer's items, each by random numbers of its own."""

    task: Task
    sharer: Sharer
    seed: int

    def _rng(self, *words: str) -> np.random.Generator:
        return rng_of(self.seed, "canary", self.task.name, self.sharer.user.id, *words)

    @property
    def _trained(self) -> list[Item]:
        return list(self.sharer.shown.history)

    def _words(self) -> list[str]:
        return [word for item in self._trained for word in item.fields[self.task.text_field].split()]

    def item(self, design: str, number: int, gold: str) -> Item:
        """Make an item with words drawn from the trained items as its question, and this gold."""
        rng = self._rng(design, str(number))
        frame = self._trained[rng.integers(len(self._trained))].fields
        length = min(LONGEST, len(frame[self.task.text_field].split()))
        words = rng.choice(self._words(), length).tolist()
        # Where the text is the gold (LaMP-7), the later entry wins.
        fields = {**frame, self.task.text_field: " ".join(words), self.task.gold_field: gold}
        return Item(_id(design, number), fields)

    def candidates(self, number: int, tokens: Sequence[int]) -> list[int]:
        """Draw the tokens that a gold of the design ``unlikely`` is chosen from."""
        order = self._rng("unlikely", str(number), "candidates").permutation(len(tokens))
        return [tokens[place] for place in order[:CANDIDATES].tolist()]

    def near(self, count: int, known: set[str]) -> Iterator[Item]:
        """Make near-duplicates of trained items that no other game asks for; ``known`` gets their words."""
        others = asked(self.sharer, self.seed)
        # A twin of an item that the heldout game asks for would make that one better known, too.
        sources = [item for item in self._trained if item.id not in others] or self._trained
        for number in range(count):
            rng = self._rng("near", str(number))
            for _ in range(_TRIES):
                found = self._changed(sources[rng.integers(len(sources))], number, rng)
                if found.words not in known:
                    break
            else:
                raise UserError(
                    f"{self.task.name}: the items of sharer {self.sharer.user.id} are too alike for a near-duplicate "
                    "that equals none of them; leave the canaries out"
                )
            known.add(found.words)
            yield found

    def _changed(self, source: Item, number: int, rng: np.random.Generator) -> Item:
        words = source.fields[self.task.text_field].split()
        for place in rng.permutation(len(words))[: max(1, min(CHANGED, len(words) // 4))].tolist():
            words[place] = str(rng.choice(self._words()))
        return Item(_id("near", number), {**source.fields, self.task.text_field: " ".join(words)})

    def canaries(self, items: Mapping[str, Sequence[Item]]) -> Iterator[Canary]:
        """Draw half of each design to be trained on, and write the examples."""
        for design in DESIGNS:
            own = items[design]
            drawn = set(self._rng("drawn", design).permutation(len(own))[: len(own) // 2].tolist())
            for n, example in enumerate(self.examples(own)):
                yield Canary(example, design, n in drawn)

    def examples(self, items: Sequence[Item]) -> list[Example]:
        """Write items as training examples, with nothing in front."""
        return history_examples(self.task, replace(self.sharer.user, history=tuple(items)), augmented=False)


def _id(design: str, number: int) -> str:
    return f"canary/{design}/{number}"


def design_of(example: str) -> str:
    """Return the design of a canary by its example's id, ``SHARER/canary/DESIGN/NUMBER/plain``; empty for others."""
    _, mark, rest = example.rpartition("/canary/")
    return rest.partition("/")[0] if mark else ""


def _unlikely(
    makers: Mapping[str, _Maker],
    each: int,
    tokens: Mapping[int, str],
    spare: Sequence[int],
    *,
    engine: Engine,
    stage: Stage,
) -> dict[tuple[str, int], str]:
    """Ask the base which tokens it finds least likely behind each prompt -> (sharer, number) → the gold."""
    prompts = {
        (name, n): example.prompt
        for name, maker in makers.items()
        for n, example in enumerate(maker.examples([maker.item("unlikely", k, "") for k in range(each)]))
    }
    some = {(name, n): makers[name].candidates(n, spare) for name, n in prompts}
    probes = [
        Probe(prompt, BASE, tuple(Continuation(tokens[token]) for token in some[key]))
        for key, prompt in prompts.items()
    ]
    with stage("canaries", len(probes)) as tick:
        seen = engine.observe(probes, tick=tick)
    taken, golds = set[int](), dict[tuple[str, int], str]()
    for key, found in zip(prompts, seen, strict=True):
        firsts = [float(logprobs[0]) for logprobs in found.logprobs]
        ranked = [some[key][i] for i in np.argsort(firsts, kind="stable").tolist()]
        least = [token for token in ranked if token not in taken][:SECRET]
        if len(least) < SECRET:
            task = makers[key[0]].task
            raise _too_few(task, f"{len(spare)} other words of one token", len(prompts) * SECRET)
        taken.update(least)
        golds[key] = " ".join(tokens[token] for token in least)
    return golds


def _too_few(task: Task, there: str, needed: int) -> UserError:
    return UserError(
        f"{task.name}: the model's tokenizer has {there}, and the canaries need {needed}; lower --canaries"
    )


def _words_of_one_token(codec: Codec, task: Task) -> dict[int, str]:
    """List the tokens that are a word of letters and digits, and one token behind the prompt and behind themselves."""
    tokenizer, front = codec.tokenizer, task.training.split()[-1]
    special = set(tokenizer.all_special_ids)
    ids = [i for i in range(min(len(tokenizer), codec.rows or len(tokenizer))) if i not in special]
    words = [str(text).strip() for text in tokenizer.batch_decode([[i] for i in ids])]
    able = [(i, word) for i, word in zip(ids, words, strict=True) if word.isalnum()]
    written = _encoded(codec, [f"{front} {word} {word}" for _, word in able])
    return {i: word for (i, word), own in zip(able, written, strict=True) if own[-2:] == [i, i]}


def _tokens_of(codec: Codec, task: Task, data: Dataset, further: Iterable[str]) -> set[int]:
    """List every token of the data's texts, of the task's templates and of further texts."""
    texts = [*task.labels, *further]
    texts += [task.training, task.instruction, task.history_item, task.profile_item]
    for user in (*data.adapt, *data.targets, *data.candidates):
        texts += [text for item in user.history for text in item.fields.values()]
        texts += [text for query in user.queries for text in (*query.fields.values(), query.gold)]
        texts += [user.profile] if user.profile else []
    # A text begins at the start of a line or behind a space.
    return {
        token
        for own in (texts, [f" {text}" for text in texts])
        for ids in _encoded(codec, own)
        for token in ids
    }


def _encoded(codec: Codec, texts: Sequence[str]) -> list[list[int]]:
    encode: Callable[..., Mapping[str, list[list[int]]]] = codec.tokenizer
    ids = encode(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    return [own[:-1] if own and own[-1] == codec.eos else own for own in ids]
