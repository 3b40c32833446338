"""A publication's claims, recomputed from its own printed cells: which hold, and to what rounding."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prime_audit.boards.cells import AUC, Cell, read_cells
from prime_audit.boards.cells import FILE as CELLS
from prime_audit.boards.checks import Finding, Printed, Reading
from prime_audit.boards.entries import entry, read_object
from prime_audit.boards.paper_claims import CHECKS, Check
from prime_audit.boards.rounding import Holds
from prime_audit.errors import UserError
from prime_audit.io.markup import markdown_text

FILE = "claims.json"
SCHEMA = "prime-audit/claims/2"


@dataclass(frozen=True)
class Claim:
    """One statement that can be true or false."""

    id: str
    quote: str
    """The publication's words, verbatim."""
    place: str
    """Where it states them."""
    note: str
    """How the words are read, or why they cannot be checked."""


@dataclass(frozen=True)
class ClaimResult:
    """A claim and what the cells say about it, under one reading of an AUC."""

    claim: Claim
    finding: Finding
    reading: Reading | None
    """None if the claim has no AUC in it."""


def read_claims(path: Path) -> tuple[Claim, ...]:
    """Read a ``claims.json``; UserError unless it has each of the claims that are checked once."""
    rows = read_object(path, SCHEMA).get("claims")
    if not isinstance(rows, list):
        raise UserError(f"{path}: has no claims; add a list of rows")
    claims = [entry(Claim, row, f"{path}: row {number}") for number, row in enumerate(rows, start=1)]
    ids = [claim.id for claim in claims]
    for number, own in enumerate(ids, start=1):
        if own not in CHECKS or own in ids[: number - 1]:
            raise UserError(f"{path}: row {number}: id {own!r} has no check, or is there twice; restore it")
    if lacking := [own for own in CHECKS if own not in ids]:
        raise UserError(f"{path}: has no row for claim {lacking[0]!r}; restore it")
    return tuple(claims)


def evaluate(claims: Iterable[Claim], cells: tuple[Cell, ...]) -> tuple[ClaimResult, ...]:
    """Recompute every claim, in order; a claim with an AUC in it once for each reading of an AUC.

    Raises UserError if cells that a claim needs are missing; the message names the claim.
    """
    return tuple(result for claim in claims for result in _evaluated(claim, CHECKS[claim.id], cells))


def _evaluated(claim: Claim, check: Check | None, cells: tuple[Cell, ...]) -> list[ClaimResult]:
    if check is None:
        return [ClaimResult(claim, Finding(verdict=Holds.UNKNOWN), None)]
    try:
        found = check(Printed(cells))
        if not any(cell.metric == AUC for cell in found.cells):
            return [ClaimResult(claim, found, None)]
        return [ClaimResult(claim, check(Printed(cells, reading)), reading) for reading in Reading]
    except UserError as error:
        raise UserError(f"claim {claim.id}: {error}") from None


def rendered(folder: Path) -> dict[str, str]:
    """Recompute the claims of a board's folder -> the generated files, name: text."""
    results = evaluate(read_claims(folder / FILE), read_cells(folder / CELLS).cells)
    text = json.dumps(claims_json(results), ensure_ascii=False, indent=1, allow_nan=False)
    return {"claims.md": claims_markdown(results), "verdicts.json": text + "\n"}


def claims_json(results: Sequence[ClaimResult]) -> dict[str, Any]:
    """Return the results as JSON types: a count for each verdict, then every claim in full."""
    return {
        "schema": "prime-audit/claim-results/1",
        "counts": _counts(results),
        "claims": [
            asdict(r.claim)
            | {"reading": r.reading and r.reading.value, "holds": r.finding.verdict.holds}
            | {name: value for name, value in vars(r.finding).items() if name != "cells"}
            | {"verdict": r.finding.verdict.value}
            for r in results
        ],
    }


def _counts(results: Sequence[ClaimResult]) -> Mapping[str, int]:
    return {verdict.value: sum(r.finding.verdict is verdict for r in results) for verdict in Holds}


def claims_markdown(results: Sequence[ClaimResult]) -> str:
    """Return the claims table in Markdown, then every counterexample under its claim."""
    from tabulate import tabulate

    headers = ("claim", "where", "verdict", "stated", "computed", "counterexamples")
    rows = [_row(r) for r in results]
    counts = ", ".join(f"{number} {verdict}" for verdict, number in _counts(results).items())
    parts = [
        "# Which claims follow from the printed numbers",
        f"{len({r.claim.id for r in results})} claims, {len(results)} checks: {counts}.",
        "*Holds*: the printed cells show it. *Holds within rounding*: the printed digits do not show it, but numbers "
        "that round to them can. A claim about an AUC is checked twice: as the paper reads an AUC (lower is better), "
        "and by its distance from ½. An attacker can flip the score, so distance from ½ is what leaks.",
        tabulate(rows, headers, tablefmt="pipe", disable_numparse=True),
        "### How each claim is read, and what contradicts it",
        "\n".join(_notes(results)),
    ]
    return "\n\n".join(parts) + "\n"


def _row(r: ClaimResult) -> list[str]:
    found = r.finding
    quote = f"“{markdown_text(r.claim.quote)}” (`{r.claim.id}`)"
    where = markdown_text(r.claim.place) + (f"; {r.reading.value}" if r.reading else "")
    verdict = f"**{found.verdict.value}**" if found.verdict is Holds.NO else found.verdict.value
    computed = markdown_text(f"{found.computed}; {found.rounding}" if found.rounding else found.computed)
    against = str(len(found.counterexamples) or "–")
    return [quote, where, verdict, markdown_text(found.stated), computed, against]


def _notes(results: Sequence[ClaimResult]) -> Iterable[str]:
    """List under each claim how it is read, once for both readings, and all that contradicts it."""
    for claim in dict.fromkeys(r.claim for r in results):
        own = [r for r in results if r.claim == claim]
        if claim.note or any(r.finding.counterexamples for r in own):
            yield f"* `{claim.id}`" + (f": {markdown_text(claim.note)}" if claim.note else "")
        for r in own:
            under = f"{r.reading.value}: " if r.reading else ""
            yield from (f"    * {under}{markdown_text(text)}" for text in r.finding.counterexamples)
