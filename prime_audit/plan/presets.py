"""``--preset auto``: the preset that fits the model, by its number of weights, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from prime_audit.engine.size import weights
from prime_audit.settings import load_settings

AUTO = "auto"
FIRST = "laptop"
"""The preset of a run that names neither preset nor model."""
SMALL = 1_500_000_000
"""Most weights that ``small`` is sized for: models called 1B have up to about 1.3 billion."""


def resolved(
    preset: str, model: str | None = None, overrides: Sequence[str] = ()
) -> tuple[str, tuple[str, ...]]:
    """Return the preset that ``preset`` means for a model, and a note that says why; no note where it is named.

    ``overrides`` (``KEY=VALUE``) may name the model too. ``paper`` is never chosen: its runs take hours on a GPU.
    """
    if preset != AUTO:
        return preset, ()
    named = [text.partition("=")[2] for text in overrides if text.partition("=")[0] == "model"]
    usual = load_settings(FIRST).get("model")
    model = model or (named[-1] if named else usual)
    if model == usual:
        return FIRST, (f"note: preset {FIRST}, which is sized for the model {usual}; --preset names another",)
    count = weights(model)
    if count is None:
        what = "the size of this model is not known before it is loaded"
    else:
        what = f"this model has {_in_words(count)} weights"
    line = f"note: preset small, which is sized for real models of up to about 1 billion weights; {what}"
    if count is not None and count > SMALL:
        line += ", so see --preset paper, which is sized for 7 billion"
    return "small", (line,)


def _in_words(count: int) -> str:
    return f"{count / 1e9:.2g} billion" if count >= 1e9 else f"{count / 1e6:.0f} million"
