"""The fixed vocabulary of the built-in world, the same for every seed: ``lexicon.toml``, as tuples."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from prime_audit.lamp.tasks import read_tables

LEXICON = SimpleNamespace(**read_tables(Path(__file__).with_name("lexicon.toml")))
"""Every table of the file by its name: ``LEXICON.TAG_CUES``."""
