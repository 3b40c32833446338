"""How the built-in world writes: an event of a user's life, as a history item or as a question with its gold.

A user's :class:`Taste` is hidden: no text names it. It decides which theme of a text *is* the answer (LaMP-1, 2), how
praise and criticism add up to a score (LaMP-3), and how a headline, title or tweet is worded (LaMP-4, 5, 7). A share
of the decisions is random, so that memorising differs from learning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from prime_audit.lamp.world.lexicon import LEXICON

Words = tuple[str, ...]

INTEREST = 0.8
"""How strongly users prefer what they like: a subject's weight is exp(``INTEREST`` · liking)."""
THEMES = 3
"""Themes of a film plot, and aspects of a review."""
SWING = 0.8
"""Stars that an aspect of average weight adds or removes."""
STRAY = 2.0
"""A style is a habit, not a rule: each feature is random ``STRAY`` · noise of the time."""


@dataclass(frozen=True)
class Taste:
    """The hidden preferences of a user."""

    liking: Mapping[str, float]
    """Utility of each subject (tags, topics, aspects, sections): mean 0, standard deviation about 1."""
    style: Mapping[str, str]
    """Chosen option of each style feature of :data:`STYLES`."""
    harshness: float
    """Stars taken off every review: mean 0, standard deviation about 0.7."""


@dataclass(frozen=True)
class Event:
    """One text that a user wrote or judged."""

    item: Mapping[str, str]
    """The fields of its history item."""
    question: Mapping[str, str]
    """The fields of its question."""
    gold: str
    """That question's answer."""


SUBJECTS: Mapping[str, Words] = {
    "LaMP-1": tuple(LEXICON.TOPIC_TERMS),
    "LaMP-2": tuple(LEXICON.TAG_CUES),
    "LaMP-3": tuple(LEXICON.ASPECTS),
    "LaMP-4": tuple(LEXICON.SECTION_ACTORS),
    "LaMP-5": tuple(LEXICON.TOPIC_TERMS),
    "LaMP-7": tuple(LEXICON.PLANS),
}
"""What each task's texts can be about."""

STYLES: Mapping[str, Mapping[str, Words]] = LEXICON.STYLES
"""The style features of each generation task and their options: templates of the text's own words."""


def write_event(task: str, taste: Taste, rng: Random, noise: float) -> Event:
    """Draw one event of a user with this taste; ``noise`` is the share of random decisions."""
    return _WRITERS[task](taste, rng, noise)


def _citation(taste: Taste, rng: Random, noise: float) -> Event:
    topics = _subjects(taste, rng, 2)
    terms = [rng.choice(LEXICON.TOPIC_TERMS[topic]) for topic in topics]
    references = [
        _capital(rng.choice(LEXICON.REFERENCE_TITLES).format(t=rng.choice(LEXICON.TOPIC_TERMS[topic])))
        for topic in topics
    ]
    chosen = topics.index(_favourite(topics, taste, rng, noise))
    title = _capital(rng.choice(LEXICON.TITLE_BLENDS).format(a=terms[0], b=terms[1]))
    abstract = (
        f"We join {terms[0]} with {terms[1]} and test both on {rng.choice(LEXICON.SOURCES)}. "
        f"Earlier work was {rng.choice(LEXICON.FLAWS)}."
    )
    first = rng.randrange(2)
    question = {"title": title, "option1": references[first], "option2": references[1 - first]}
    item = {"title": title, "abstract": abstract, "citation": references[chosen]}
    return Event(item, question, "[1]" if chosen == first else "[2]")


def _film(taste: Taste, rng: Random, noise: float) -> Event:
    tags = _subjects(taste, rng, THEMES)
    tag = _favourite(tags, taste, rng, noise)
    lead = f"{_capital(rng.choice(LEXICON.FILM_LEADS))} {rng.choice(LEXICON.FILM_STARTS)}."
    links = rng.sample(LEXICON.LINKS, THEMES)
    scenes = [f"{link} {rng.choice(LEXICON.TAG_CUES[t])}." for link, t in zip(links, tags, strict=True)]
    plot = " ".join([lead, *scenes])
    return Event({"description": plot, "tag": tag}, {"description": plot}, tag)


def _review(taste: Taste, rng: Random, noise: float) -> Event:
    aspects = _subjects(taste, rng, THEMES)
    praised = [rng.random() < 0.55 for _ in aspects]
    weights = [math.exp(0.8 * taste.liking[aspect]) for aspect in aspects]
    mean = sum(math.exp(0.8 * value) for value in taste.liking.values()) / len(taste.liking)
    swing = sum(w / mean if good else -w / mean for w, good in zip(weights, praised, strict=True))
    stars = min(5, max(1, round(3 - taste.harshness + SWING * swing)))
    if rng.random() < noise:
        stars = rng.randint(1, 5)
    clauses = [
        rng.choice(LEXICON.ASPECTS[aspect][0 if good else 1])
        for aspect, good in zip(aspects, praised, strict=True)
    ]
    start = f"I bought this {rng.choice(LEXICON.PRODUCTS)} {rng.choice(LEXICON.OCCASIONS)}."
    text = f"{start} {_capital(clauses[0])}. {_capital(clauses[1])} and {clauses[2]}."
    return Event({"text": text, "score": str(stars)}, {"text": text}, str(stars))


def _headline(taste: Taste, rng: Random, noise: float) -> Event:
    section = _subjects(taste, rng, 1)[0]
    verb, participle, thing = rng.choice(LEXICON.DEEDS)
    parts = {
        "actor": rng.choice(LEXICON.SECTION_ACTORS[section]),
        "verb": verb,
        "participle": participle,
        "object": thing,
        "cause": rng.choice(LEXICON.CAUSES),
        "place": rng.choice(LEXICON.PLACES),
        "day": rng.choice(LEXICON.DAYS),
    }
    text = "{place} learned on {day} that {actor} will {verb} {object}. The step follows {cause}. ".format(
        **parts
    ) + rng.choice(LEXICON.REACTIONS)
    style = _style("LaMP-4", taste, rng, noise)
    body = _capital(style["order"].format(**parts))
    title = style["kicker"] + body + style["detail"].format(**parts) + style["ending"]
    title = _titled(title) if style["case"] == "title" else title
    return Event({"text": text, "title": title}, {"text": text}, title)


def _paper(taste: Taste, rng: Random, noise: float) -> Event:
    topics = _subjects(taste, rng, 2)
    parts = {
        "problem": rng.choice(LEXICON.TOPIC_TERMS[topics[0]]),
        "method": rng.choice(LEXICON.TOPIC_TERMS[topics[1]]),
        "field": rng.choice(LEXICON.FIELDS),
        "source": rng.choice(LEXICON.SOURCES),
    }
    abstract = (
        f"Progress in {{problem}} is {rng.choice(LEXICON.FLAWS)}, above all in {{field}}. "
        "We approach it with {method}. "
        f"Tests with {{source}} improve the best known result by {rng.randint(2, 19)} percent."
    ).format(**parts)
    style = _style("LaMP-5", taste, rng, noise)
    body = style["opening"] + style["order"].format(**parts)
    title = _capital(body + style["detail"].format(**parts) + style["ending"])
    title = _titled(title) if style["case"] == "title" else title
    return Event({"abstract": abstract, "title": title}, {"abstract": abstract}, title)


def _tweet(taste: Taste, rng: Random, noise: float) -> Event:
    subject = _subjects(taste, rng, 1)[0]
    plan, thing = rng.choice(LEXICON.PLANS[subject])
    mood, time, advice = rng.choice(LEXICON.MOODS), rng.choice(LEXICON.TIMES), rng.choice(LEXICON.ADVICE)
    plan = f"{plan} {rng.choice(LEXICON.COMPANY)}"
    text = f"I am going to {plan} {time}. The {thing} is very {mood}. You should {advice}."
    style = _style("LaMP-7", taste, rng, noise)
    parts = {"advice": advice, "subject": subject, "thing": thing, "time": time.split()[-1]}
    said = (
        f"{style['opening']}{style['plan']}{plan} {time}",
        f"the {thing} is {style['degree']} {mood}",
        f"{style['you'].format(**parts)}{style['ending']}{style['tag'].format(**parts)}",
    )
    tweet = style["point"].join(said)
    return Event({"text": tweet}, {"text": text}, tweet)


_WRITERS: Mapping[str, Callable[[Taste, Random, float], Event]] = {
    "LaMP-1": _citation,
    "LaMP-2": _film,
    "LaMP-3": _review,
    "LaMP-4": _headline,
    "LaMP-5": _paper,
    "LaMP-7": _tweet,
}


def _subjects(taste: Taste, rng: Random, count: int) -> list[str]:
    """Draw ``count`` different subjects, the liked ones more often, in random order."""
    # Gumbel's trick: the largest of log-weight + Gumbel noise is a weighted draw without replacement.
    keys = {
        subject: INTEREST * liking - math.log(-math.log(rng.random() or 0.5))
        for subject, liking in taste.liking.items()
    }
    drawn = sorted(keys, key=keys.__getitem__, reverse=True)[:count]
    rng.shuffle(drawn)
    return drawn


def _favourite(options: Sequence[str], taste: Taste, rng: Random, noise: float) -> str:
    """Choose the option with the highest utility for the user, or any with probability ``noise``."""
    if rng.random() < noise:
        return rng.choice(options)
    return max(options, key=taste.liking.__getitem__)


def _style(task: str, taste: Taste, rng: Random, noise: float) -> dict[str, str]:
    """Choose each feature's option: the user's own, or with probability ``STRAY * noise`` any."""
    return {
        feature: rng.choice(options) if rng.random() < STRAY * noise else taste.style[feature]
        for feature, options in STYLES[task].items()
    }


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _titled(text: str) -> str:
    return " ".join(_capital(word) for word in text.split(" "))
