"""The fixed vocabulary of the built-in world, the same for every seed: ``lexicon.toml``, as tuples."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Words = tuple[str, ...]


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return {key: _frozen(own) for key, own in value.items()} if isinstance(value, dict) else value


_ALL: dict[str, Any] = _frozen(
    tomllib.loads(Path(__file__).with_name("lexicon.toml").read_text(encoding="utf-8"))
)
TAG_CUES: Mapping[str, Words] = _ALL["TAG_CUES"]
FILM_LEADS: Words = _ALL["FILM_LEADS"]
FILM_STARTS: Words = _ALL["FILM_STARTS"]
LINKS: Words = _ALL["LINKS"]
TOPIC_TERMS: Mapping[str, Words] = _ALL["TOPIC_TERMS"]
TITLE_BLENDS: Words = _ALL["TITLE_BLENDS"]
REFERENCE_TITLES: Words = _ALL["REFERENCE_TITLES"]
FIELDS: Words = _ALL["FIELDS"]
SOURCES: Words = _ALL["SOURCES"]
FLAWS: Words = _ALL["FLAWS"]
ASPECTS: Mapping[str, tuple[Words, Words]] = _ALL["ASPECTS"]
PRODUCTS: Words = _ALL["PRODUCTS"]
OCCASIONS: Words = _ALL["OCCASIONS"]
SECTION_ACTORS: Mapping[str, Words] = _ALL["SECTION_ACTORS"]
DEEDS: tuple[tuple[str, str, str], ...] = _ALL["DEEDS"]
CAUSES: Words = _ALL["CAUSES"]
PLACES: Words = _ALL["PLACES"]
DAYS: Words = _ALL["DAYS"]
REACTIONS: Words = _ALL["REACTIONS"]
PLANS: Mapping[str, tuple[tuple[str, str], ...]] = _ALL["PLANS"]
COMPANY: Words = _ALL["COMPANY"]
TIMES: Words = _ALL["TIMES"]
MOODS: Words = _ALL["MOODS"]
ADVICE: Words = _ALL["ADVICE"]
