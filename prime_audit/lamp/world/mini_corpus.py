"""The pretraining data of ``mini``: the prompts of the suite itself, over worlds that no user runs.

Every user of these worlds has a taste of their own. So the model cannot learn the clusters of a later world. It only
learns the language, the form of the answers, and that histories and profiles reveal taste.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from prime_audit.lamp.data import Query, User
from prime_audit.lamp.profiles import summary_profile
from prime_audit.lamp.prompts import (
    Example,
    history_block,
    history_examples,
    query_examples,
    question_prompt,
)
from prime_audit.lamp.tasks import Task
from prime_audit.lamp.world.lexicon import LEXICON
from prime_audit.lamp.world.world import SIMULATED, world

FIRST_SEED = 10_000
"""First seed of the pretraining worlds; runs of the suite should use smaller seeds."""
USERS = 40
"""Users of each pretraining world, each a cluster of their own."""
HISTORIES = (0, 0, 1, 1, 2, 4, 6)
"""Items in front of a question; drawn evenly."""
MASKED = 0.25
"""Share of the generation tasks' texts whose things are renamed, so that copying works on any word."""
COMMON_WORDS = tuple(Path(__file__).with_name("common_words.txt").read_text(encoding="utf-8").split())
"""Everyday words that the built-in world may lack: entries of the vocabulary, and replacements."""


@dataclass(frozen=True)
class Document:
    """A text to learn, and the positions of its golds."""

    text: str
    """Prompt and gold."""
    start: int
    """Character at which the gold begins (the space before it included)."""
    shown: tuple[tuple[int, int], ...]
    """Characters (from, to) of the golds in its history block."""


def documents(worlds: int, seed: int) -> Iterator[Document]:
    """Write the corpus: ``worlds`` worlds of each task, from ``FIRST_SEED + seed * 1000`` on."""
    for number in range(worlds):
        for task in SIMULATED.values():
            key = FIRST_SEED + seed * 1000 + number
            sizes = {"users": USERS, "adapt": 0, "targets": USERS, "clusters": USERS, "queries": 8}
            for user in world(task.name, seed=key, history=(10, 16), **sizes).targets:
                yield from _user_documents(task, user, Random(f"{key}/{task.name}/{user.id}"))


def _user_documents(task: Task, user: User, rng: Random) -> Iterator[Document]:
    profile = summary_profile(task, user.history)
    own = history_examples(task, user, profile=profile)
    fronted = [example for example in own if example.kind == "augmented"]
    chosen = rng.sample([example for example in own if example.kind == "plain"], 3)
    chosen += rng.sample(fronted, 3 if fronted else 0)
    chosen += query_examples(task, user, k=rng.choice((1, 4)), profile=rng.choice((None, profile)))[:3]
    chosen += [_question(task, user, query, profile, rng) for query in user.queries[3:]]
    if task.name == "LaMP-1":
        chosen += [_citing(task, user, query, rng) for query in user.queries]
    for example in chosen:
        masked = not task.labels and rng.random() < MASKED
        yield _document(task, _mask(example, rng) if masked else example)


def _question(task: Task, user: User, query: Query, profile: str, rng: Random) -> Example:
    """Write one question with any of the blocks that methods put in front of it."""
    shown = rng.sample(user.history, rng.choice(HISTORIES))
    about = profile if rng.random() < 0.4 else None
    prompt = question_prompt(task, query.fields, history=shown, profile=about)
    return Example(query.id, prompt, query.gold, query.id, "plain")


def _citing(task: Task, user: User, query: Query, rng: Random) -> Example:
    """Write a LaMP-1 question after papers with their citations: citing and choosing are one skill."""
    papers = rng.sample(user.history, rng.randint(2, 8))
    lines = [f"{task.training.format(**paper.fields)} {paper.fields['citation']}\n" for paper in papers]
    prompt = history_block(lines) + task.instruction.format(**query.fields)
    return Example(query.id, prompt, query.gold, query.id, "plain")


_TEMPLATE_WORDS = {
    word.lower()
    for task in SIMULATED.values()
    for word in re.findall(r"[A-Za-z]+", task.instruction + task.history_item)
}


def _content_words() -> frozenset[str]:
    pools = [pool for table in (LEXICON.SECTION_ACTORS, LEXICON.TOPIC_TERMS) for pool in table.values()]
    pools += [LEXICON.PLACES, LEXICON.CAUSES, LEXICON.FIELDS, LEXICON.SOURCES]
    pools += [tuple(deed[2] for deed in LEXICON.DEEDS)]
    pools += [tuple(text for pair in pairs for text in pair) for pairs in LEXICON.PLANS.values()]
    words = {word.lower() for pool in pools for text in pool for word in re.findall(r"[A-Za-z]{4,}", text)}
    return frozenset(words - _TEMPLATE_WORDS)


_CONTENT = _content_words()


def _mask(example: Example, rng: Random) -> Example:
    """Replace words that name things, in prompt and gold, by words that have no meaning here."""
    found = {word.lower() for word in re.findall(r"[A-Za-z]+", example.text)} & _CONTENT
    masks = {word: _other_word(rng) for word in sorted(found)}

    def swap(match: re.Match[str]) -> str:
        word = match.group()
        other = masks.get(word.lower(), word)
        return other.capitalize() if word[0].isupper() and word.lower() in masks else other

    prompt, gold = (re.sub(r"[A-Za-z]+", swap, text) for text in (example.prompt, example.gold))
    return Example(example.id, prompt, gold, example.item, example.kind)


def _other_word(rng: Random) -> str:
    if rng.random() < 0.8:
        return rng.choice(COMMON_WORDS)
    return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))


def _document(task: Task, example: Example) -> Document:
    front = example.prompt.rfind("\n\n\n") + 1
    # The text before the gold in an item of the history block, for example " Tag:".
    marker = task.history_item.rpartition("{")[0].rpartition("}")[2].rstrip()
    spans, at = list[tuple[int, int]](), 0
    for line in example.prompt[:front].split("\n"):
        cites = line.find(" Reference:")
        found = line.rfind(marker)
        if cites >= 0:
            spans.append((at + cites + len(" Reference:"), at + len(line)))
        elif found >= 0:
            spans.append((at + found + len(marker), at + len(line)))
        at += len(line) + 1
    return Document(example.text, len(example.prompt), tuple(spans))
