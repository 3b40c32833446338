"""Figures: the same bytes in any process, every label in them, and no markup from a name."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from prime_audit.studies.figures import Mark, Subplot, dots, lines

NAME = "<script>alert(1)</script> $x_1$ & 50 %"
DRAW = """
import hashlib
from prime_audit.studies.figures import Mark, Subplot, dots, lines
marks = tuple(
    Mark(label=f"m{i}", group=f"g, {i % 2}", x=float(i // 2), value=i / 7, bar=(i / 7 - 0.1, i / 7 + 0.1), base=0.4)
    for i in range(6)
)
panels = [Subplot(f"p{i}", "Acc", marks, {"plain": 0.3}, "k") for i in range(4)]
for drawn in (dots(panels, 2, second="base"), lines(panels, 2)):
    print(*(hashlib.sha256(drawn[form]).hexdigest() for form in ("svg", "png")))
"""


def test_equal_figures_give_equal_bytes() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", DRAW],
            env=os.environ | {"PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, zone, locale in (("1", "UTC", "C"), ("2", "Asia/Tokyo", "C.UTF-8"))
    }
    assert len(found) == 1
    assert len(set(found.pop().split())) == 4


@pytest.mark.parametrize("make", [dots, lines])
def test_names_are_text(make: object) -> None:
    marks = (
        Mark(label=NAME, group=NAME, x=0.0, value=0.5),
        Mark(label="_b", group="_b", x=1.0, value=0.25, bar=(0.1, 0.4)),
    )
    drawn = make([Subplot(NAME, NAME, marks, {NAME: 0.3}, NAME)], 1)  # type: ignore[operator]
    root = ET.fromstring(drawn["svg"])
    texts = ["".join(e.itertext()).strip() for e in root.iter() if e.tag.endswith("text")]
    assert texts.count(NAME) >= 4
    assert any("_b" in text for text in texts)
    assert not [e for e in root.iter() if e.tag.endswith("script")]
    assert hashlib.sha256(drawn["png"]).digest()


def test_every_mark_and_interval_is_drawn() -> None:
    marks = tuple(
        Mark(label=f"row {i}", group="g", x=float(i), value=i / 10, bar=(i / 10 - 0.05, i / 10 + 0.05))
        for i in range(5)
    )
    svg = dots([Subplot("a", "Acc", marks)], 1)["svg"].decode()
    assert all(f"row {i}" in svg for i in range(5))
    assert svg.count("stroke-opacity: 0.45") == 5
