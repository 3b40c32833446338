"""A publication's claims in words, recomputed from its own printed cells: which hold, and to what rounding."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prime_audit.boards.cells import AUC, Reported, read_cells
from prime_audit.boards.cells import FILE as CELLS
from prime_audit.boards.claim_rows import FILE, Claim, read_claims
from prime_audit.boards.rounding import Verdict
from prime_audit.boards.selection import DISTANCE, LOWER, Look
from prime_audit.boards.statements import KINDS, Finding
from prime_audit.io.markup import markdown_text

_NONE = "–"


@dataclass(frozen=True)
class ClaimResult:
    """What the printed cells say of one claim, under one reading of an AUC."""

    id: str
    """The claim's."""
    quote: str
    place: str
    verdict: Verdict
    stated: str
    """What is claimed."""
    computed: str
    """What the cells give."""
    rounding: str
    """What their rounding leaves open."""
    counterexamples: tuple[str, ...]
    """Every comparison that goes against it, is equal as printed, or cannot be read."""
    note: str
    """How the words were read, or why they cannot be checked."""
    reading: str | None = None
    """How an AUC was read; None where no AUC is in it."""

    @property
    def holds(self) -> bool | None:
        """True, also where only within rounding; False; None where it cannot be checked."""
        return self.verdict.holds


def evaluate(claims: Iterable[Claim], reported: Reported) -> tuple[ClaimResult, ...]:
    """Recompute every claim from the cells, in order; one that an AUC is in twice, once for each reading.

    Raises
    ------
    UserError
        Where a statement names cells that there are not; the message names the claim.
    """
    return tuple(result for claim in claims for result in _evaluated(claim, reported))


def _evaluated(claim: Claim, reported: Reported) -> list[ClaimResult]:
    if claim.says is None:
        nothing = Finding(Verdict.UNKNOWN, _NONE, _NONE)
        return [_result(claim, nothing, claim.unchecked, None)]
    kind, where = KINDS[claim.says["kind"]][0], f"claim {claim.id}"
    if _has_auc(claim.says, Look(reported, LOWER, where)):
        return [
            _result(claim, kind(claim.says, Look(reported, reading, where)), claim.note, reading)
            for reading in (LOWER, DISTANCE)
        ]
    return [_result(claim, kind(claim.says, Look(reported, LOWER, where)), claim.note, None)]


def _result(claim: Claim, found: Finding, note: str, reading: str | None) -> ClaimResult:
    return ClaimResult(
        claim.id,
        claim.quote,
        claim.place,
        found.verdict,
        found.stated,
        found.computed,
        found.rounding,
        found.counterexamples,
        note,
        reading,
    )


def _has_auc(says: Mapping[str, Any], look: Look) -> bool:
    chosen = {"table": says["tables"]} if "tables" in says else says["of"]
    return any(cell.metric == AUC for cell in look.select(chosen))


def rendered(folder: Path) -> dict[str, str]:
    """Recompute the claims of a board's folder -> the generated files, name: text."""
    results = evaluate(read_claims(folder / FILE), read_cells(folder / CELLS))
    text = json.dumps(claims_json(results), ensure_ascii=False, indent=1, allow_nan=False)
    return {"claims.md": claims_markdown(results), "verdicts.json": text + "\n"}


def claims_json(results: Sequence[ClaimResult]) -> dict[str, Any]:
    """Return the results as JSON types: a count a verdict, then every claim in full."""
    return {
        "schema": "prime-audit/claim-results/1",
        "counts": {v.value: sum(r.verdict is v for r in results) for v in Verdict},
        "claims": [
            {
                "id": r.id,
                "quote": r.quote,
                "place": r.place,
                "reading": r.reading,
                "verdict": r.verdict.value,
                "holds": r.holds,
                "stated": r.stated,
                "computed": r.computed,
                "rounding": r.rounding,
                "counterexamples": list(r.counterexamples),
                "note": r.note,
            }
            for r in results
        ],
    }


def claims_markdown(results: Sequence[ClaimResult]) -> str:
    """Return the claims table in Markdown, then every counterexample under its claim."""
    from tabulate import tabulate

    headers = ("claim", "where", "verdict", "stated", "computed", "against it")
    rows = [_row(r) for r in results]
    counts = ", ".join(f"{sum(r.verdict is v for r in results)} {v.value}" for v in Verdict)
    parts = [
        "# Which claims follow from the printed numbers",
        f"{len({r.id for r in results})} claims, {len(results)} checks: {counts}.",
        "*Holds*: from the cells as printed. *Holds within rounding*: not from the printed digits, but from numbers "
        "that round to them. A claim with an AUC in it stands twice: as the paper reads an AUC, and by its distance "
        "from ½, which is what an attacker who may turn the score round has.",
        tabulate(rows, headers, tablefmt="pipe", disable_numparse=True),
        *_notes(results),
    ]
    return "\n\n".join(parts) + "\n"


def _row(r: ClaimResult) -> list[str]:
    quote = f"“{markdown_text(r.quote)}” (`{r.id}`)"
    where = markdown_text(r.place) + (f"; {r.reading}" if r.reading else "")
    verdict = f"**{r.verdict.value}**" if r.verdict is Verdict.FAILS else r.verdict.value
    computed = markdown_text(f"{r.computed}; {r.rounding}" if r.rounding else r.computed)
    return [quote, where, verdict, markdown_text(r.stated), computed, str(len(r.counterexamples) or _NONE)]


def _notes(results: Sequence[ClaimResult]) -> Iterable[str]:
    """List under each claim how it was read and all that goes against it; what two readings share, once."""
    yield "### How each was read, and what goes against it"
    lines = []
    for claim in dict.fromkeys(r.id for r in results):
        own = [r for r in results if r.id == claim]
        if own[0].note or any(r.counterexamples for r in own):
            lines.append(f"* `{claim}`" + (f": {markdown_text(own[0].note)}" if own[0].note else ""))
        for r in own:
            under = f"{r.reading}: " if r.reading else ""
            lines += [f"    * {under}{markdown_text(text)}" for text in r.counterexamples]
    yield "\n".join(lines)
