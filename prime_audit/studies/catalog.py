"""All studies, in the paper's order. To add one, add a ``Study`` here; no other file lists them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prime_audit.errors import unknown
from prime_audit.studies import audit_games, responses
from prime_audit.studies.spec import Study, Variant

ALPHAS = ("0", "0.2", "0.6", "1", "2")
"""Table 2's penalties."""
SEARCHED = ("LaMP-1", "LaMP-2", "LaMP-4")
"""Tasks of Figures 3 to 6."""
BOTH = ("LaMP-2", "LaMP-4")
"""Tasks of Tables 5, 6, 9 and 10."""
THREE = ("LaMP-2", "LaMP-4", "LaMP-7")
"""Tasks of Tables 2 and 4."""

PERPCS = Variant("Per-Pcs", "perpcs")
BEST_OF_PERPCS = ("Per-Pcs Base", "Per-Pcs +RAG", "Per-Pcs +PAG")


def _fronts(group: str, method: str) -> tuple[Variant, ...]:
    """Build a method's three columns of Tables 1 and 5."""
    return (
        Variant("Base", method, group),
        Variant("+RAG", f"{method}+rag:k=1", group),
        Variant("+PAG", f"{method}+pag:k=1", group),
    )


def _by_column(first: str, second: str, columns: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Pair two groups, column by column."""
    return tuple((f"{first} {c}", f"{second} {c}") for c in columns)


def _against(second: str, variants: Sequence[Variant]) -> tuple[tuple[str, str], ...]:
    """Pair each variant with the same one."""
    return tuple((v.key, second) for v in variants)


_MERGED = (*_fronts("Per-Pcs", "perpcs"), *_fronts("PriME", "prime:alpha=0"))
_COLUMNS = ("Base", "+RAG", "+PAG")

MAIN = Study(
    name="main",
    title="Does personalisation help: every method, alone, behind retrieval and behind a profile",
    answers="Table 1",
    tasks=("LaMP-1", "LaMP-2", "LaMP-3", "LaMP-4", "LaMP-5", "LaMP-7"),
    variants=(
        Variant("k=0", "np", "NP"),
        Variant("k=1", "rag:k=1", "RAG"),
        Variant("k=0", "pag:k=0", "PAG"),
        Variant("k=1", "pag:k=1", "PAG"),
        *_MERGED,
        *_fronts("OPPU", "oppu"),
    ),
    pairs=(
        ("PriME Base", "NP k=0"),
        *_by_column("PriME", "Per-Pcs", _COLUMNS),
        *_by_column("PriME", "OPPU", _COLUMNS),
    ),
    about=(
        "OPPU is run here with the sharers' recipe; the paper copies the results that OPPU's "
        "authors reported.",
    ),
    form="across",
)

_TRADEOFF = tuple(Variant(f"α={a}", f"prime:alpha={a}") for a in ALPHAS)
TRADEOFF = Study(
    name="tradeoff",
    title="What the penalty α costs in utility, and what it buys in privacy",
    answers="Tables 2 and 6",
    tasks=THREE,
    variants=(PERPCS, *_TRADEOFF),
    pairs=_against("Per-Pcs", _TRADEOFF),
    about=("Table 6 is this study with the Llama 3 models: pass each with --model.",),
    figure="frontier",
    games=("paper",),
)


def _rag_k(group: str, method: str) -> tuple[Variant, ...]:
    plain = (method, *(f"{method}+rag:k={k}" for k in range(1, 5)))
    profiled = tuple(f"{method}+pag:k={k}" for k in range(5))
    return tuple(
        Variant(f"k={k}", label, name, x=k)
        for name, labels in ((group, plain), (f"{group}, profile", profiled))
        for k, label in enumerate(labels)
    )


RAG_K = Study(
    name="rag-k",
    title="How many retrieved items help, with and without a profile in front",
    answers="Figure 2",
    tasks=BOTH,
    variants=(*_rag_k("PriME", "prime:alpha=0"), *_rag_k("Per-Pcs", "perpcs")),
    pairs=tuple(
        pair
        for profile in ("", ", profile")
        for pair in _by_column(f"PriME{profile}", f"Per-Pcs{profile}", [f"k={k}" for k in range(5)])
    ),
    about=("The paper's text names only LaMP-2 among the tasks of its Figure 2.",),
    figure="lines",
    axis="retrieved items k",
)

_LORAS = tuple(
    Variant(f"n={n}", f"prime:k={n}{more}", f"PriME, {word}", x=n)
    for word, more in (("module", ""), ("layer", ",granularity=layer"))
    for n in (1, 3, 5)
)
LORAS = Study(
    name="loras",
    title="How many adapters to merge, and with one weight each or one a layer",
    answers="Table 4",
    tasks=THREE,
    variants=(Variant("", "perpcs", "Per-Pcs"), *_LORAS),
    pairs=(
        *_against("Per-Pcs", _LORAS),
        *_by_column("PriME, layer", "PriME, module", [f"n={n}" for n in (1, 3, 5)]),
    ),
    about=(
        "The rows of layers are not in the paper. They search as many weights per sharer as the "
        "model has layers.",
    ),
    figure="lines",
    axis="adapters merged n",
    reference=("Per-Pcs",),
)

_SHARES = tuple(Variant(f"{s} %", f"prime:share={s / 100:g}", "PriME", x=s) for s in (20, 40, 60, 80, 100))
DATA_SHARE = Study(
    name="data-share",
    title="How much of a target's history the search has to look at",
    answers="Figures 3 and 5",
    tasks=SEARCHED,
    variants=(*_fronts("Per-Pcs", "perpcs"), *_SHARES),
    pairs=(*_against("PriME 100 %", _SHARES[:-1]), *_against("Per-Pcs +PAG", _SHARES)),
    about=(
        "The dotted line is the best of three Per-Pcs results, chosen on these very questions, "
        "which favours Per-Pcs.",
    ),
    figure="lines",
    axis="share of the examples, %",
    reference=BEST_OF_PERPCS,
)

_OPTIMIZERS = tuple(
    Variant(name, f"prime:optimizer={word}", "PriME")
    for name, word in (("CMA", "cma"), ("NgIohTuned", "ngiohtuned"), ("TBPSA", "tbpsa"), ("NGOpt", "ngopt"))
)
OPTIMIZERS = Study(
    name="optimizers",
    title="Which gradient-free optimizer finds the merge weights",
    answers="Figures 4 and 6",
    tasks=SEARCHED,
    variants=(Variant("", "perpcs", "Per-Pcs"), *_OPTIMIZERS),
    pairs=(*_against("PriME CMA", _OPTIMIZERS[1:]), *_against("Per-Pcs", _OPTIMIZERS)),
    about=("NGOpt, the default of the released code, is not in the paper's figures.",),
)

BASE_MODELS = Study(
    name="base-models",
    title="Does it hold for other base models",
    answers="Table 5",
    tasks=BOTH,
    variants=_MERGED,
    pairs=_by_column("PriME", "Per-Pcs", _COLUMNS),
    about=("One model is packaged; pass others with --model, repeatedly.",),
    form="across",
    models={"paper": ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.2-3B")},
)

REPEATS = 3
"""Table 9's runs."""
_DECODINGS = {f"decoding-{n}": ("sampling=true", f"decode_seed={n}") for n in range(1, REPEATS + 1)}
DECODING = Study(
    name="decoding",
    title="How much repeated sampled decoding changes the results",
    answers="Table 9",
    tasks=BOTH,
    variants=tuple(
        Variant(name, label, group, runs=tuple(_DECODINGS))
        for name, label, group in (
            ("k=1", "rag:k=1", "RAG"),
            ("k=0", "pag:k=0", "PAG"),
            ("k=1", "pag:k=1", "PAG"),
        )
    ),
    pairs=(("PAG k=0", "RAG k=1"), ("PAG k=1", "RAG k=1"), ("PAG k=1", "PAG k=0")),
    about=(
        f"{REPEATS} repetitions differ only in the random draws of decoding (--set decode_seed), "
        "at the preset's temperature and top-p.",
        "The standard error covers decoding alone. Other users or another training would change "
        "the results more.",
    ),
    form="across",
    runs=_DECODINGS,
)

PROFILES = Study(
    name="profiles",
    title="How much the wording of a profile changes the results",
    answers="Table 10",
    tasks=BOTH,
    variants=(
        Variant("k=0", "pag:k=0", "Original"),
        Variant("k=1", "pag:k=1", "Original"),
        Variant("k=0", "pag:k=0,text=reworded", "Reworded"),
        Variant("k=1", "pag:k=1,text=reworded", "Reworded"),
    ),
    pairs=_by_column("Reworded", "Original", ("k=0", "k=1")),
    about=(
        "Only the text before the questions is reworded: base and adapters are trained with the "
        "original texts.",
        "No second language model rewords here, unlike GPT-4o-mini in the paper. Reworded is a "
        "summary by counting in another fixed template, with the same spelling of labels. Where "
        "the original is that summary (the world), the two say the same in other words. Where "
        "data or a --profiler brought the original, they also differ in content.",
    ),
    form="across",
)

MERGE_RULE = Study(
    name="merge-rule",
    title="Eq. 2's sum of updates against the released code's sum of factors",
    answers="new",
    tasks=THREE,
    variants=(
        PERPCS,
        Variant("Eq. 2, α=0", "prime:alpha=0"),
        Variant("Eq. 2, α=1", "prime:alpha=1"),
        Variant("factors, α=0", "prime:alpha=0,merge=factor"),
        Variant("factors, α=1", "prime:alpha=1,merge=factor"),
        Variant("as released, α=0", "prime:alpha=0,merge=factor,select=recommended"),
    ),
    pairs=(
        ("factors, α=0", "Eq. 2, α=0"),
        ("factors, α=1", "Eq. 2, α=1"),
        ("as released, α=0", "factors, α=0"),
        ("Eq. 2, α=0", "Per-Pcs"),
        ("factors, α=0", "Per-Pcs"),
    ),
    about=(
        "Eq. 2: ΔW = Σ w B A. Factors: ΔW = (Σ w B)(Σ w A), which has cross terms, is quadratic "
        "in w, and is the same for w and −w. As released: factors, and the optimizer's "
        "recommendation deployed without evaluation.",
    ),
    figure="frontier",
    games=("paper",),
)

STUDIES = {
    s.name: s
    for s in (
        *(MAIN, TRADEOFF, RAG_K, LORAS, DATA_SHARE, OPTIMIZERS, BASE_MODELS, DECODING, PROFILES),
        *(responses.STUDY, MERGE_RULE, audit_games.STUDY),
    )
}


def find_study(name: str) -> Study:
    """Find a study by name. Raises UserError with the nearest names."""
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    return STUDIES[name]
