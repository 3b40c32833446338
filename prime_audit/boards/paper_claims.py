"""The PriME paper's claims, each as a check on its printed cells; ``claims.json`` holds their words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from prime_audit.boards.checks import (
    LIKE,
    Choice,
    Finding,
    Pair,
    Printed,
    Relation,
    Share,
    Unit,
    counted,
    key,
    pairs,
)
from prime_audit.boards.rounding import Holds
from prime_audit.errors import UserError

Check = Callable[[Printed], Finding]
WORSE, NOT_WORSE, DOMINATES, MOST = Relation.WORSE, Relation.NOT_WORSE, Relation.DOMINATES, Share.MOST
FORM = (*LIKE, "front")
"""Like with like: Base against Base, +RAG against +RAG, +PAG against +PAG."""
PRIME, PERPCS, OPPU = ((core, f"{core}+rag", f"{core}+pag") for core in ("prime", "perpcs", "oppu"))
ALPHAS = ("prime:alpha=0", "prime:alpha=0.2", "prime:alpha=0.6", "prime:alpha=1", "prime:alpha=2")
LORAS = ("prime:k=1", "prime:k=3", "prime:k=5")
UTILITY = ("accuracy", "f1", "rouge-1", "rouge-L")
AUCS, LLAMA_3 = ("2", "6a", "6b"), ("6a", "6b")
"""The tables with an AUC."""


def fronted(p: Printed, core: str, **where: Choice) -> list[Pair]:
    """Pair +RAG and +PAG of a method with its Base in Table 1."""
    return p.beside((f"{core}+rag", f"{core}+pag"), core, "1", **where)


def rephrased(p: Printed, **where: Choice) -> list[Pair]:
    """Pair GPT's profiles with the original ones in Table 10."""
    gpt, original = (
        p.cells("10", column=(f"{who} k=0", f"{who} k=1"), **where) for who in ("GPT", "Original")
    )
    return pairs(gpt, original, ("task", "metric", "method"))


def marks(p: Printed, tables: Choice, without: str = "") -> Finding:
    """Check that bold marks the best and underline the second best value of each column."""
    cells = tuple(cell for cell in p.cells(tables) if cell.core != without)
    units, bare = [], 0
    for cell in cells:
        column = [c for c in cells if key(c, LIKE) == key(cell, LIKE)]
        above = [c for c in column if p.better(Pair(c, cell)) is Holds.YES]
        bare += not above and cell.value is not None and cell.mark != "bold"
        if cell.mark:
            right = len({c.value for c in above}) == (0 if cell.mark == "bold" else 1)
            higher = ", ".join(f"{c.place} {c.shown}" for c in above) or "nothing"
            text = f"{cell.source} {cell.shown} is {cell.mark}; better: {higher}"
            units.append(Unit(Holds.YES if right else Holds.NO, text))
    found = counted(units, "rightly marked")
    computed = f"{found.computed}; best values without a bold that could be read: {bare}"
    return replace(found, computed=computed, cells=cells)


def decoding_variance(p: Printed) -> Finding:
    """Show Table 9's standard errors, and how far Table 1's single runs are from its means; no verdict."""
    means = p.cells("9")
    single = p.cells("1", task=("LaMP-2", "LaMP-4"), method=("rag", "pag", "pag:k=1"))
    shares = [100 * cell.stderr / cell.value for cell in means if cell.stderr is not None and cell.value]
    if not shares:
        raise UserError("no standard error in Table 9; restore the cells of this claim")
    lines = [f"standard errors of {min(shares):.1f} to {max(shares):.1f} % of the mean"]
    apart: dict[str, list[float]] = {}
    for run, mean in pairs(single, means, ("task", "metric", "method")):
        if run.value is not None and mean.value is not None and mean.stderr:
            apart.setdefault(run.task, []).append((run.value - mean.value) / mean.stderr)
    for task, x in apart.items():
        lines.append(
            f"{task}: the single runs of Table 1 are {min(x):+.2f} to {max(x):+.2f} of them away from it"
        )
    return Finding(verdict=Holds.UNKNOWN, stated="no number", computed="; ".join(lines))


def _gain(ours: str, theirs: str, table: str, task: str, metric: str, percent: str) -> Check:
    return lambda p: p.largest_gain(p.beside(ours, theirs, table, task=task, metric=metric), percent)


_GAINS = (
    ("gain-lamp-1-{}-over-perpcs", "perpcs", "1", "LaMP-1", {"accuracy": "2.7", "f1": "3.3"}),
    ("gain-lamp-2-{}-over-perpcs", "perpcs", "1", "LaMP-2", {"accuracy": "44.1", "f1": "31.1"}),
    ("gain-lamp-3-{}-over-perpcs", "perpcs", "1", "LaMP-3", {"MAE": "45.9", "RMSE": "25.3"}),
    ("gain-lamp-4-{}-over-perpcs", "perpcs", "1", "LaMP-4", {"rouge-1": "10.5", "rouge-L": "11.1"}),
    ("gain-lamp-7-{}-over-perpcs", "perpcs", "1", "LaMP-7", {"rouge-1": "2.6", "rouge-L": "2.0"}),
    ("gain-lamp-1-{}-over-oppu", "oppu", "1", "LaMP-1", {"accuracy": "7.1", "f1": "8.1"}),
    ("gain-lamp-2-{}-over-oppu", "oppu", "1", "LaMP-2", {"accuracy": "13.8", "f1": "34.4"}),
    ("gain-8b-lamp-2-{}", "perpcs", "5a", "LaMP-2", {"accuracy": "35.0", "f1": "20.7"}),
    ("gain-8b-lamp-4-{}", "perpcs", "5a", "LaMP-4", {"rouge-1": "3.3", "rouge-L": "4.5"}),
    ("gain-3b-lamp-2-{}", "perpcs", "5b", "LaMP-2", {"accuracy": "51.7", "f1": "31.7"}),
    ("gain-3b-lamp-4-{}", "perpcs", "5b", "LaMP-4", {"rouge-1": "2.2", "rouge-L": "1.9"}),
)
"""The percentages that Sections 4.2 and 4.3 state for PriME Base: id, rival, table, task, metric and percent."""
# fmt: off
CHECKS: Mapping[str, Check | None] = {
    # Table 1: utility beside the baselines
    "outperforms-like-with-like": lambda p: p.compare(p.beside(PRIME, ("np", "rag", "pag:k=1", *PERPCS), "1", FORM)),
    "outperforms-best-of-each": lambda p: p.compare(
        pairs(p.best("1", "prime"), p.best("1", ("np", "rag", "pag", "perpcs")))
    ),
    "outperforms-prompt-based": lambda p: p.compare(pairs(p.best("1", "prime"), p.best("1", ("rag", "pag")))),
    "outperforms-training-based": lambda p: p.compare(p.beside(PRIME, OPPU, "1", FORM)),
    "captures-preferences-better": lambda p: p.compare(p.beside("prime", "perpcs", "1")),
    "up-to-45-over-perpcs": lambda p: p.largest_gain(p.beside(PRIME, PERPCS, "1", FORM), "45"),
    "up-to-45-all-models": lambda p: p.largest_gain(p.beside(PRIME, PERPCS, ("1", "5a", "5b"), FORM), "45"),
    "up-to-45-over-any": lambda p: p.largest_gain(
        p.beside(PRIME, ("np", "rag", "pag", "pag:k=1", *PERPCS, *OPPU), "1"), "45"
    ),
    **{
        i.format(m.lower()): _gain("prime", who, t, task, m, x)
        for i, who, t, task, own in _GAINS
        for m, x in own.items()
    },
    "perpcs-below-np-lamp-3": lambda p: p.compare(p.beside("perpcs", "np", "1", task="LaMP-3"), WORSE),
    "often-surpasses-oppu": lambda p: p.compare(p.beside(PRIME, OPPU, "1", FORM), share=MOST),
    "slightly-outperforms-oppu": lambda p: p.compare(
        p.beside("prime", "oppu", "1", task=("LaMP-3", "LaMP-4", "LaMP-5"))
    ),
    "lags-oppu-on-lamp-7": lambda p: p.compare(p.beside("prime", "oppu", "1", task="LaMP-7"), WORSE),
    "more-substantial-over-oppu": lambda p: p.larger_gains(
        p.beside("prime", "oppu", "1", task=("LaMP-1", "LaMP-2")),
        p.beside("prime", "oppu", "1", task=("LaMP-3", "LaMP-4", "LaMP-5")),
    ),
    "pag-with-rag-performs-well": lambda p: p.compare(
        p.beside("pag:k=1", ("np", "rag", "pag"), "1", task=("LaMP-1", "LaMP-4"))
    ),
    "perpcs-depends-on-rag": lambda p: p.larger_gains(
        fronted(p, "perpcs", task="LaMP-2"), fronted(p, "prime", task="LaMP-2"), ("metric", "front")
    ),
    "perpcs-depends-on-rag-elsewhere": lambda p: p.larger_gains(
        fronted(p, "perpcs"), fronted(p, "prime"), ("task", "metric", "front")
    ),
    "best-perpcs-is-pag": lambda p: p.compare(p.beside("perpcs+pag", ("perpcs", "perpcs+rag"), "1", task="LaMP-2")),
    "marks-table-1": lambda p: marks(p, "1"),
    "marks-table-1-without-oppu": lambda p: marks(p, "1", without="oppu"),
    "marks-other-tables": lambda p: marks(p, ("2", "4", "5a", "5b", "6a")),
    # Tables 2, 6a and 6b: utility and AUC at every α
    "superior-tradeoff-somewhere": lambda p: p.compare(p.beside(ALPHAS, "perpcs", AUCS), DOMINATES, 1, each=True),
    "robust-to-mia-somewhere": lambda p: p.compare(p.beside(ALPHAS, "perpcs", AUCS, metric="auc"), share=1, each=True),
    "robust-to-mia-everywhere": lambda p: p.compare(p.beside(ALPHAS, "perpcs", AUCS, metric="auc")),
    "alpha-mitigates": lambda p: p.compare(p.beside(ALPHAS[1:], ALPHAS[0], AUCS, metric="auc")),
    "utility-at-every-alpha": lambda p: p.compare(p.beside(ALPHAS, "perpcs", "2", metric=UTILITY)),
    "comparable-at-every-alpha": lambda p: p.compare(p.beside(ALPHAS, "perpcs", "2", metric=UTILITY), NOT_WORSE),
    "utility-declines": lambda p: p.compare(p.steps(ALPHAS, "2", metric=UTILITY), WORSE, MOST),
    "utility-declines-everywhere": lambda p: p.compare(p.steps(ALPHAS, "2", metric=UTILITY), WORSE),
    "risk-falls-with-alpha": lambda p: p.compare(p.steps(ALPHAS, "2", metric="auc")),
    "strictly-better-at-1-and-2": lambda p: p.compare(p.beside(ALPHAS[3:], "perpcs", "2"), DOMINATES),
    "risk-reduction-lamp-4": _gain(ALPHAS[4], "perpcs", "2", "LaMP-4", "auc", "20.6"),
    "comparable-utility-lamp-4": lambda p: p.compare(
        p.beside(ALPHAS[4], "perpcs", "2", task="LaMP-4", metric=UTILITY[2:]), NOT_WORSE
    ),
    "outperforms-for-some-alpha": lambda p: p.compare(p.beside(ALPHAS, "perpcs", "2"), DOMINATES, 1, each=True),
    "consistently-lowers-risk": lambda p: p.compare(p.beside(ALPHAS, "perpcs", "2", metric="auc")),
    "lower-risk-and-superior-utility": lambda p: p.compare(p.beside(ALPHAS, "perpcs", "2"), DOMINATES),
    "llama-3-lamp-2-all-alpha": lambda p: p.compare(p.beside(ALPHAS, "perpcs", LLAMA_3, task="LaMP-2"), DOMINATES),
    "llama-3-lamp-2-auc-improves": lambda p: p.compare(p.steps(ALPHAS, LLAMA_3, task="LaMP-2", metric="auc")),
    "llama-3-8b-lamp-4": lambda p: p.compare(p.beside(ALPHAS[:2], "perpcs", "6a", task="LaMP-4"), DOMINATES),
    "llama-3-3b-lamp-4": lambda p: p.compare(p.beside(ALPHAS[0], "perpcs", "6b", task="LaMP-4"), DOMINATES),
    "llama-3-multiple-alpha": lambda p: p.compare(p.beside(ALPHAS, "perpcs", LLAMA_3), DOMINATES, 2, each=True),
    # Tables 4, 5, 9 and 10: number of LoRAs, other models, seeds, profiles
    "few-loras-suffice": lambda p: p.compare(p.beside(LORAS[1], LORAS[2], "4"), NOT_WORSE, MOST),
    "more-loras": lambda p: p.compare(p.steps(LORAS, "4"), share=MOST),
    "more-than-one-lora": lambda p: p.compare(p.beside(LORAS[1], LORAS[0], "4"), share=MOST),
    "single-lora": lambda p: p.compare(p.beside(LORAS[0], "perpcs", "4")),
    "llama-3-outperforms": lambda p: p.compare(p.beside(PRIME, PERPCS, ("5a", "5b"), FORM)),
    "small-prime-beats-large-perpcs": lambda p: p.compare(
        pairs(p.cells("5b", task="LaMP-2", method=PRIME), p.cells("5a", task="LaMP-2", method=PERPCS), FORM[1:])
    ),
    "decoding-variance": decoding_variance,
    "gpt-profiles-lamp-4": lambda p: p.compare(
        [pair for pair in rephrased(p, task="LaMP-4") if pair.ours.column == "GPT k=1"], WORSE
    ),
    "gpt-profiles-lamp-2": lambda p: p.larger_gains(
        rephrased(p, task="LaMP-2"), rephrased(p, task="LaMP-4"), smaller=True
    ),
    "profiles-matter": lambda p: p.compare(rephrased(p), WORSE, 1),
    # What no printed number decides; the claim's note says why
    **dict.fromkeys((
        "no-added-complexity", "more-distinct-predictions", "beats-original-perpcs", "knowledge-conflicts",
        "auc-near-half", "responses-more-distinct", "improves-with-k", "plateau", "without-rag-beats-k-4",
        "data-60-percent", "data-20-percent", "data-elsewhere", "data-reduced-40-percent", "optimizers",
        "optimizers-elsewhere", "baselines-retuned", "perpcs-reproduced",
    )),
}
# fmt: on
"""A claim's id → its check; None if it cannot be checked."""
