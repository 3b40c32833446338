"""Profile augmentation: a text summary of the user in front of the prompt."""

from __future__ import annotations

import math

from prime_audit.plugins import Augment, Param, method

K = Param(
    "k",
    None,
    "history items after the profile; by default 0 alone and 1 with another method (Table 1)",
    bounds=(0, math.inf),
)
TEXT = Param(
    "text",
    "given",
    "given: by the profiler, else from the data, else a summary by counting; reworded: that summary in other words",
    ("given", "reworded"),
)


@method(source="Richardson et al. 2023; PriME, Tables 1 and 10 (PAG)", params=(K, TEXT), augments=True)
def augment(*, k: int | None, text: str, alone: bool) -> Augment:
    """Put the user's profile text, and k retrieved history items, in front of the question."""
    return Augment(k=(0 if alone else 1) if k is None else k, profile=True, wording=text)
