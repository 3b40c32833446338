"""What ships with the package: the tiny model ``mini`` and the command that remakes it; imports no torch."""

from __future__ import annotations

from pathlib import Path

MINI = Path(__file__).with_name("mini")
"""Folder of the packaged model, in the Hugging Face layout."""
