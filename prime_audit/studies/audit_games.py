"""The study ``audit-games``: the same modules under every game, and what each game can show about them."""

from __future__ import annotations

from prime_audit.plugins.loading import load_game
from prime_audit.report.columns import LEGEND, PANEL
from prime_audit.report.sheet import AUC, BASE, judged
from prime_audit.report.table import Cell, Table
from prime_audit.studies import figures, usual
from prime_audit.studies.paired import corrected
from prime_audit.studies.pairs import auc_tests
from prime_audit.studies.spec import Found, Report, Study, Variant

_SHOWN = tuple(c for c in PANEL if c.name in ("AUC", "over base", "q", "tail", "ε ≥", "verdict"))
"""Columns of the control panel that the study shows."""


def report(found: Found) -> Report:
    """Build a table per model with a row per task, game and method; test the pairs on the AUC of every game."""
    pairs = [(found.study.variant(a), found.study.variant(b)) for a, b in found.study.pairs]
    tests = [t for m in found.models for task in found.plan.tasks for t in auc_tests(found, m, task, pairs)]
    drawn = ", ".join(g for g in found.study.games if load_game(g).design.randomised)
    lines = (*usual.notes(found)[1:], *LEGEND, f"Games that drew their members at random: {drawn}.")
    subplots = [_subplot(found, m, task) for m in found.models for task in found.plan.tasks]
    drawing = figures.dots(subplots, len(found.plan.tasks), second="same items, unmerged base")
    return Report(tuple(_table(found, m) for m in found.models), corrected(tests), drawing, lines)


def _table(found: Found, model: str) -> Table:
    labels, cells = [], []
    for task in found.plan.tasks:
        for game in found.study.games:
            for v in found.study.variants:
                labels.append((task, game, v.key))
                cells.append(_row(found, model, task, game, v))
    heads = tuple(("", c.name) for c in _SHOWN)
    return Table(usual.title(found, model), ("Task", "Game", "Method"), heads, tuple(labels), tuple(cells))


def _row(found: Found, model: str, task: str, game: str, variant: Variant) -> tuple[Cell, ...]:
    """Return the verdict's columns; where there is none, why the game does not apply to the method."""
    wanted = (task, variant.method, game, found.plan.attacks[0])
    panels = judged(found.of(model, variant)[0].record, "run")
    own = (x for x in panels if (x.leak.task, x.leak.method, x.leak.game, x.leak.attack) == wanted)
    if (one := next(own, None)) is None:
        auc = usual.figure_of(found, model, variant, task, AUC, game)
        return tuple(Cell(reason=auc.reason) if c.name == "verdict" else Cell() for c in _SHOWN)
    return tuple(c.cell(one) for c in _SHOWN if c.cell)


def _subplot(found: Found, model: str, task: str) -> figures.Subplot:
    marks = []
    for game in found.study.games:
        for v in found.study.variants:
            auc = usual.figure_of(found, model, v, task, AUC, game)
            base = usual.figure_of(found, model, v, task, BASE, game)
            if auc.value is not None:
                label = f"{game}: {v.key}"
                marks.append(
                    figures.Mark(
                        label=label, group=game, x=None, value=auc.value, bar=auc.ci, base=base.value
                    )
                )
    name = usual.heading(found, task, model)
    return figures.Subplot(name, "membership AUC", tuple(marks), {"chance": 0.5})


STUDY = Study(
    name="audit-games",
    title="The same modules under every membership game",
    answers="new",
    tasks=("LaMP-2", "LaMP-4"),
    variants=(
        Variant("Per-Pcs", "perpcs"),
        Variant("PriME, α=0", "prime:alpha=0"),
        Variant("PriME, α=2", "prime:alpha=2"),
        Variant("OPPU", "oppu"),
    ),
    pairs=(("PriME, α=0", "Per-Pcs"), ("PriME, α=2", "PriME, α=0"), ("PriME, α=0", "OPPU")),
    about=(
        "paper: merged sharers' items against all others', selected by similarity. heldout: the "
        "items a merged sharer's adapter was trained on against the same sharer's held-out "
        "items. inclusion: a fair coin decides which sharers enter the merge. target: the "
        "target's own history against items held out of it.",
        "The target game holds items out of every target's history, so all modules here are "
        "built without them.",
    ),
    games=("paper", "heldout", "inclusion", "target"),
    report=report,
)
