"""The model card of an exported module: its parts, its utility and its audit.

Everything in it comes from the record, and all texts from data are escaped. Sharers are numbered, not named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from prime_audit.community.sharers import bank_name
from prime_audit.engine.hub import pinned
from prime_audit.engine.rules import RULES
from prime_audit.io.markup import interval, markdown_text, number, without_folders
from prime_audit.record import Record, Result
from prime_audit.report.columns import LEGEND, PANEL
from prime_audit.report.sheet import is_leakage, judged
from prime_audit.report.table import Table, footnotes, markdown, missing


def model_card(record: Record, task: str, label: str, core: str, row: Mapping[str, Any], rank: int) -> str:
    """Write the card of one target's module: Markdown with the front matter that the hub reads.

    ``core`` is the method that built the module, ``label`` the method as run, ``row`` its line of models.jsonl.
    """
    parts = (
        _front_matter(record),
        _what(record, task, label, core, row, rank),
        _loading(record),
        _fronts(record, task, label, core),
        _merge(record, task, core, row),
        _utility(record, task, label),
        _audit(record, task, label),
        _use(),
        _facts(record),
    )
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def _front_matter(record: Record) -> Iterator[str]:
    name, _ = pinned(record.model.name)
    yield "---"
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        yield f"base_model: {json.dumps(name)}"  # a JSON string is a YAML string
    yield "library_name: peft"
    yield 'tags: ["lora", "personalisation", "prime-audit"]'
    yield "---"
    yield ""


def _what(
    record: Record, task: str, label: str, core: str, row: Mapping[str, Any], rank: int
) -> Iterator[str]:
    merged = len(row["sharers"])
    community = record.community.get(task, {})
    yield f"# {_text(label)} for {_text(row['target'])} ({_text(task)})"
    yield ""
    yield (
        f"A personalised module: one LoRA of rank {rank}, built by `prime-audit` with the method "
        f"{_text(core)} for one person, the target {_text(row['target'])}, on {_text(task)}. It "
        f"merges the adapters of {merged} sharers of {len(community.get('sharers', ()))}, seed "
        f"{record.seeds.get('run')}."
    )
    yield ""
    if community.get("adaptation"):
        yield (
            "It includes the adapter that the run had merged into the base's weights (base "
            "adaptation): load it on the base as published, not on an adapted one."
        )
        yield ""


def _loading(record: Record) -> Iterator[str]:
    name, revision = pinned(record.model.name)
    yield "## How to load it"
    yield ""
    yield "```python"
    yield "from peft import PeftModel"
    yield "from transformers import AutoModelForCausalLM, AutoTokenizer"
    if name == "mini":
        yield "from prime_audit.assets import MINI as base"
    else:
        yield f"base = {_code(name)}"
    more = "".join(f", {key}={_code(value)}" for key, value in revision.items())
    yield f"model = AutoModelForCausalLM.from_pretrained(base{more}, dtype={_code(record.model.dtype)})"
    yield 'model = PeftModel.from_pretrained(model, "this folder")'
    yield f"tokenizer = AutoTokenizer.from_pretrained(base{more})"
    yield "```"
    yield ""
    yield (
        f"The base's weights have the sha256 {_text(record.model.sha256)} (over all tensors, as "
        f"prime-audit counts it) in {_text(record.model.dtype)}; the results below do not apply "
        "to others."
    )
    yield ""


def _fronts(record: Record, task: str, label: str, core: str) -> Iterator[str]:
    first, *rest = _parts(label)
    front = "+".join(rest if first == core else [first, *rest])
    if not front:
        return
    parameters = record.methods.get(label, {}).get(task, {})
    own = {k: v for k, v in parameters.items() if k.partition(".")[0] in re.split(r"[+:]", front)}
    told = f" ({_text(', '.join(f'{k} = {v}' for k, v in own.items()))})" if own else ""
    yield "## Text before prompts"
    yield ""
    yield (
        f"The results below are of the whole system: {_text(front)}{told} puts text of the "
        "person's own history before each question. Only the module is here; `prime-audit "
        "prompts` shows the prompts."
    )
    yield ""


def _merge(record: Record, task: str, core: str, row: Mapping[str, Any]) -> Iterator[str]:
    yield "## Method"
    yield ""
    parameters = record.methods.get(core) or next(
        (m for label, m in record.methods.items() if _parts(label)[0] == core), {}
    )
    if own := parameters.get(task):
        yield from _table(["parameter", "value"], [[k, str(v)] for k, v in own.items()])
    else:
        yield f"{_text(core)} has no parameters."
        yield ""
    if not row["adapters"]:
        return
    rule = row["rule"]
    yield f"### Merge weights ({_text(RULES[rule].summary if rule in RULES else rule)})"
    yield ""
    weights = np.atleast_2d(np.array(row["weights"], dtype=np.float64))
    per = f"mean over {len(weights)} layers or modules" if len(weights) > 1 else "weight"
    numbers = {bank_name(s["user"]): s["index"] for s in record.community.get(task, {}).get("sharers", ())}
    rows = [
        [
            f"sharer {numbers[name]}" if name in numbers else _kind(name, row["target"]),
            number(float(column.mean()), signed=True),
            interval((float(column.min()), float(column.max())), signed=True) if len(weights) > 1 else "",
        ]
        for name, column in zip(row["adapters"], weights.T, strict=True)
    ]
    yield from _table(["adapter", per, "from, to"], rows)


def _parts(label: str) -> list[str]:
    """``prime:alpha=0.6+rag`` -> ``["prime:alpha=0.6", "rag"]``."""
    return re.split(r"\+(?=[A-Za-z_])", label)


def _kind(adapter: str, target: str) -> str:
    return (
        "the target's own" if adapter == f"own:{target}" else "computed by the method from sharers' adapters"
    )


def _utility(record: Record, task: str, label: str) -> Iterator[str]:
    yield "## Utility"
    yield ""
    gaps = {
        c.metric: c
        for c in record.comparisons
        if (c.task, c.method, c.baseline) == (task, label, "np") and c.game is None
    }
    rows = []
    for r in _results(record, task, label):
        gap = gaps.get(r.metric)
        shown = "" if gap is None or gap.difference is None else number(gap.difference, signed=True)
        limits = interval(gap.ci, signed=True) if gap else ""
        arrow = {True: " ↑", False: " ↓", None: ""}[r.higher_is_better]
        rows.append([f"{r.metric}{arrow}", _value(r), interval(r.ci), shown, limits, f"{r.n} of {r.targets}"])
    yield "Of the method, over all targets of the run; not of this module alone."
    yield ""
    yield from _table(["metric", "value", "95 %", "Δ np", "95 %", "questions, targets"], rows)


def _audit(record: Record, task: str, label: str) -> Iterator[str]:
    yield "## Membership audit"
    yield ""
    verdicts = [x for x in judged(record, "run") if (x.leak.task, x.leak.method) == (task, label)]
    if verdicts:
        heads = tuple(("", c.name) for c in PANEL[1:])
        cells = tuple(tuple(c.cell(x) for c in PANEL[1:] if c.cell) for x in verdicts)
        table = Table("", ("game",), heads, tuple((x.leak.game,) for x in verdicts), cells)
        yield markdown(table)
        yield ""
        yield from (f"- {_text(line)}" for line in footnotes(table))
        yield ""
        yield from (f"{_text(line)}\n" for line in LEGEND)
    results = [r for r in record.results if (r.task, r.method) == (task, label) and is_leakage(r.metric)]
    rows = [
        [r.game or "", r.attack or "", _scored(r.metric), _value(r), interval(r.ci), r.reason or ""]
        for r in results
    ]
    if rows:
        yield from _table(["game", "attack", "AUC of", "AUC", "95 %", "reason"], rows)
    else:
        yield "No membership game was played on this method."
        yield ""


def _scored(metric: str) -> str:
    """Name what an AUC is of: the model, the unmerged base, or a control."""
    named = {"auc": "the model", "auc_base": "the unmerged base"}
    return named.get(metric, metric.removeprefix("auc_").replace("_", " "))


def _use() -> Iterator[str]:
    yield "## Intended use"
    yield ""
    yield (
        "For the person it was built for, and for research on personalisation and its risks. It "
        "was built from other people's adapters and this person's own history: everyone who has "
        "it can query what it remembers of them. An audit that found no leak does not prove that "
        "there is none. Do not publish it without the consent of all of them."
    )
    yield ""
    yield "## Licence"
    yield ""
    yield (
        "None is given here. The terms of the base model apply, and those of all data that went "
        "into the adapters."
    )
    yield ""


def _facts(record: Record) -> Iterator[str]:
    yield "## How to reproduce it"
    yield ""
    privacy: Mapping[str, Any] = record.spec.get("sharer_dp") or {}
    facts = {
        "command": without_folders(record.command),
        "data": "; ".join(f"{d.task}: sha256 {d.sha256}" for d in record.data),
        "preset": str(record.spec.get("preset")),
        "seed": str(record.seeds.get("run")),
        "sharers' privacy": ", ".join(f"{k} = {v}" for k, v in privacy.items()) or "none asked for",
        "hardware": f"{record.hardware.get('device')}, {record.model.dtype}",
        "prime-audit commit": str(record.code.get("commit") or "no checkout"),
        **dict(record.versions),
    }
    yield from _table(["what", "value"], [[k, v] for k, v in facts.items()])
    if record.warnings:
        yield "Warnings of the run:"
        yield ""
        yield from (f"- {_text(line)}" for line in record.warnings)


def _results(record: Record, task: str, label: str) -> Iterator[Result]:
    for r in record.results:
        if (r.task, r.method) == (task, label) and not is_leakage(r.metric):
            yield r


def _value(result: Result) -> str:
    return missing(result.reason) if result.value is None else number(result.value)


def _text(text: object) -> str:
    return markdown_text(str(text))


def _code(text: str) -> str:
    """Write a text for a fenced block of Python: no character of it ends string or block."""
    return json.dumps(text).replace("`", "\\u0060")


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(map(_text, headers))} |"
    yield f"|{'---|' * len(headers)}"
    yield from (f"| {' | '.join(map(_text, row))} |" for row in rows)
    yield ""
