"""The study ``audit-games``: the same modules under every game, and what each game can show about them."""

from __future__ import annotations

from prime_audit.games.deal import GAMES
from prime_audit.record import Leak
from prime_audit.report.tables import AUC, BASE
from prime_audit.studies import figures, usual
from prime_audit.studies.paired import corrected
from prime_audit.studies.pairs import auc_tests
from prime_audit.studies.spec import Found, Report, Study, Variant
from prime_audit.studies.tables import Cell, Table


def report(found: Found) -> Report:
    """Build a table per model with a row per task, game and method; test the pairs on the AUC of every game."""
    pairs = [(found.study.variant(a), found.study.variant(b)) for a, b in found.study.pairs]
    tests = [t for m in found.models for task in found.plan.tasks for t in auc_tests(found, m, task, pairs)]
    drawn = ", ".join(g for g in found.study.games if GAMES[g].randomised)
    lines = (
        *usual.notes(found)[1:],
        "The game's own permutation test, one-sided, not corrected over attacks. Where "
        f"membership was drawn ({drawn}) it is p over base, of the AUC minus the unmerged base's; "
        "else p AUC, of the AUC. ε ≥: lower bound, with the highest possible with as many "
        "guesses.",
        "Verdicts follow the rule in prime_audit/audit/verdict.py; only games whose members were "
        "drawn can say leaks.",
    )
    panels = [_panel(found, m, task) for m in found.models for task in found.plan.tasks]
    drawing = figures.dots(panels, len(found.plan.tasks), second="same items, unmerged base")
    return Report(tuple(_table(found, m) for m in found.models), corrected(tests), drawing, lines)


def _table(found: Found, model: str) -> Table:
    labels, cells = [], []
    for task in found.plan.tasks:
        for game in found.study.games:
            for v in found.study.variants:
                labels.append((task, game, v.key))
                cells.append(_row(found, model, task, game, v))
    heads = tuple(("", name) for name in ("AUC", "AUC − base", "p AUC", "p over base", "ε ≥", "Verdict"))
    return Table(usual.title(found, model), ("Task", "Game", "Method"), heads, tuple(labels), tuple(cells))


def _row(found: Found, model: str, task: str, game: str, variant: Variant) -> tuple[Cell, ...]:
    auc = usual.figure_of(found, model, variant, task, AUC, game)
    over = usual.over_base(found, model, variant, task, game)
    leak = _leak(found, model, task, game, variant)
    if leak is None:
        return (*[Cell()] * 5, Cell(text=auc.reason))
    bound = None if leak.epsilon is None else f"{leak.epsilon:.2f} of {leak.epsilon_ceiling:.2f}"
    tested = (Cell(), Cell(leak.p)) if GAMES[game].randomised else (Cell(leak.p), Cell())
    return (auc, over, *tested, Cell(text=bound), Cell(text=leak.verdict))


def _leak(found: Found, model: str, task: str, game: str, variant: Variant) -> Leak | None:
    wanted = (task, variant.method, game, found.plan.attacks[0])
    leaks = found.of(model, variant)[0].record.leaks
    return next((x for x in leaks if (x.task, x.method, x.game, x.attack) == wanted), None)


def _panel(found: Found, model: str, task: str) -> figures.Panel:
    marks = []
    for game in found.study.games:
        for v in found.study.variants:
            auc = usual.figure_of(found, model, v, task, AUC, game)
            base = usual.figure_of(found, model, v, task, BASE, game)
            if auc.value is not None:
                label = f"{game}: {v.key}"
                marks.append(figures.Mark(label, game, None, auc.value, auc.ci, base.value))
    name = usual.heading(found, task, model)
    return figures.Panel(name, "membership AUC", tuple(marks), {"chance": 0.5})


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
