"""The model card of an exported module: its parts, its utility and its audit.

Everything in it comes from the record, and all texts from data are escaped. Sharers are numbered, not named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from prime_audit.community.sharers import bank_name
from prime_audit.engine.hub import pinned
from prime_audit.engine.rules import RULES
from prime_audit.export.hub import metadata, utility_of
from prime_audit.io.markup import interval, markdown_text, number, without_folders
from prime_audit.plan.plan import label_parts
from prime_audit.record import NAMED, Record, Result
from prime_audit.report.columns import LEGEND, PANEL
from prime_audit.report.from_record import sheet_of
from prime_audit.report.sheet import is_leakage, judged
from prime_audit.report.table import Table, footnotes, markdown, missing
from prime_audit.report.text import markdown_summary

if TYPE_CHECKING:
    from prime_audit.export.module import Model
    from prime_audit.runs.unlearn import Standing, Unlearnt


def model_card(model: Model, rank: int) -> str:
    """Write the card of one target's module: Markdown with the front matter that the hub reads."""
    record, task, label, core, row = model.run.record, model.task, model.label, model.core, model.row
    parts = (
        [f"---\n{metadata(model)}\n---"],
        _what(record, task, label, core, row, rank),
        _summary(record, task, label),
        _without(record, task, core, model.unlearnt),
        _loading(record),
        _fronts(record, task, label, core),
        _method(record, task, core),
        _merge_weights(record, task, row),
        _utility(record, task, label),
        _audit(record, task, label),
        [_USE],
        _facts(record),
    )
    return "\n\n".join(paragraph for part in parts for paragraph in part) + "\n"


_USE = """\
## Intended use

For the person it was built for, and for research on personalisation and its risks. It was built from other people's \
adapters and this person's own history: everyone who has it can query what it remembers of them. An audit that found \
no leak does not prove that there is none. Do not publish it without the consent of all of them.

## Licence

None is given here. The terms of the base model apply, and those of all data that went into the adapters."""


def _what(
    record: Record, task: str, label: str, core: str, row: Mapping[str, Any], rank: int
) -> Iterator[str]:
    community = record.community.get(task, {})
    yield f"# {_text(label)} for {_text(row['target'])} ({_text(task)})"
    yield (
        f"A personalised module: one LoRA of rank {rank}, built by `prime-audit` with the method "
        f"{_text(core)} for one person, the target {_text(row['target'])}, on {_text(task)}. It "
        f"merges the adapters of {len(row['sharers'])} sharers of {len(community.get('sharers', ()))}, seed "
        f"{record.seeds.get('run')}."
    )
    if community.get("adaptation"):
        yield (
            "It includes the adapter that the run had merged into the base's weights (base "
            "adaptation): load it on the base as published, not on an adapted one."
        )


def _summary(record: Record, task: str, label: str) -> Iterator[str]:
    """Give the run's answers about this method on this task."""
    sheet = sheet_of(record, "run")
    own = replace(
        sheet,
        tasks=(task,),
        figures=tuple(f for f in sheet.figures if (f.task, f.method) == (task, label)),
        leaks=tuple(x for x in sheet.leaks if (x.leak.task, x.leak.method) == (task, label)),
        able={t: how for t, how in sheet.able.items() if t == task},
        unable={t: why for t, why in sheet.unable.items() if t == task},
    )
    yield markdown_summary(own)


def _without(record: Record, task: str, core: str, unlearnt: Unlearnt | None) -> Iterator[str]:
    if unlearnt is None:
        return
    one = f"sharer {_number(record, task, unlearnt.sharer)}"
    was = "" if unlearnt.merged else " The run's model had not merged this sharer."
    yield f"## Made without {one}"
    yield (
        f"This is not the run's module: {_text(core)} made it again without {one}, with new neighbours, search and "
        f"weights. The seed and the other adapters are the run's.{was} **The utility and the audit below are of the "
        "run's models, with that sharer.**"
    )
    named = {"the run's": unlearnt.before, "this one": unlearnt.after}
    yield _table(
        ["model", f"gain on the items of {one}", "higher than for", "rank p"],
        [[name, gain_of(s), f"{s.below} of {s.others} others", rank_p(s)] for name, s in named.items()],
    )
    yield (
        f"Gain: how much likelier the module makes {unlearnt.items} last trained examples than the unmerged base does, "
        "in nats a token. The others are the sharers that neither module merges. Similarity between "
        "people explains a gain among theirs. Rank p: (1 + others whose gain is not lower) / (1 + others). With "
        f"{unlearnt.after.others} others it cannot be below {least_p(unlearnt.after.others)}, so a p above 0.05 proves "
        f"nothing. {unlearnt.copies} of the examples have the words of an item that a sharer of this module trained "
        "on: removing one adapter does not remove those. The base, and copies of earlier modules, are not changed."
    )


def gain_of(standing: Standing) -> str:
    """Write a gain; a dash where the sharer has no items."""
    return "–" if standing.gain is None else number(standing.gain, signed=True)


def rank_p(standing: Standing) -> str:
    """Write a rank p; a dash where the sharer has no items."""
    return "–" if standing.p is None else number(standing.p)


def least_p(others: int) -> str:
    """Write the least rank p that so many other sharers allow."""
    return number(1 / (1 + others))


def _number(record: Record, task: str, sharer: str) -> int:
    """Return a sharer's number in the record, by which a card names them."""
    sharers = record.community[task]["sharers"]
    return next(int(s["index"]) for s in sharers if s["user"] == sharer)


def _loading(record: Record) -> Iterator[str]:
    name, revision = pinned(record.model.name)
    base = "from prime_audit.assets import MINI as base" if name == "mini" else f"base = {_code(name)}"
    more = "".join(f", {key}={_code(value)}" for key, value in revision.items())
    yield "## How to load it"
    yield f"""\
```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
{base}
model = AutoModelForCausalLM.from_pretrained(base{more}, dtype={_code(record.model.dtype)})
model = PeftModel.from_pretrained(model, "this folder")
tokenizer = AutoTokenizer.from_pretrained(base{more})
```"""
    yield (
        f"The base's weights have the sha256 {_text(record.model.sha256)} (over all tensors, as "
        f"prime-audit counts it) in {_text(record.model.dtype)}; the results below do not apply "
        "to others."
    )


def _fronts(record: Record, task: str, label: str, core: str) -> Iterator[str]:
    first, *rest = label_parts(label)
    front = "+".join(rest if first == core else [first, *rest])
    if not front:
        return
    parameters = record.methods.get(label, {}).get(task, {})
    own = [f"{k} = {v}" for k, v in parameters.items() if k.partition(".")[0] in re.split(r"[+:]", front)]
    given = f" ({_text(', '.join(own))})" if own else ""
    yield "## Text before prompts"
    yield (
        f"The results below are of the whole system: {_text(front)}{given} puts text of the "
        "person's own history before each question. Only the module is here; `prime-audit "
        "prompts` shows the prompts."
    )


def _method(record: Record, task: str, core: str) -> Iterator[str]:
    parameters = record.methods.get(core) or next(
        (m for label, m in record.methods.items() if label_parts(label)[0] == core), {}
    )
    yield "## Method"
    if own := parameters.get(task):
        yield _table(["parameter", "value"], [[k, str(v)] for k, v in own.items()])
    else:
        yield f"{_text(core)} has no parameters."


def _merge_weights(record: Record, task: str, row: Mapping[str, Any]) -> Iterator[str]:
    if not row["adapters"]:
        return
    rule = row["rule"]
    yield f"### Merge weights ({_text(RULES[rule].summary if rule in RULES else rule)})"
    weights = np.atleast_2d(np.array(row["weights"], dtype=np.float64))
    per = f"mean over {len(weights)} layers or modules" if len(weights) > 1 else "weight"
    sharers = record.community.get(task, {}).get("sharers", ())
    known = {f"own:{row['target']}": "the target's own"}
    known |= {bank_name(s["user"]): f"sharer {s['index']}" for s in sharers}
    rows = [
        [
            known.get(name, "computed by the method from sharers' adapters"),
            number(float(column.mean()), signed=True),
            interval((float(column.min()), float(column.max())), signed=True) if len(weights) > 1 else "",
        ]
        for name, column in zip(row["adapters"], weights.T, strict=True)
    ]
    yield _table(["adapter", per, "from, to"], rows)


def _utility(record: Record, task: str, label: str) -> Iterator[str]:
    gaps = {
        c.metric: c
        for c in record.comparisons
        if (c.task, c.method, c.baseline) == (task, label, "np") and c.game is None
    }
    rows = []
    for r in utility_of(record, task, label):
        gap = gaps.get(r.metric)
        shown = "" if gap is None or gap.difference is None else number(gap.difference, signed=True)
        limits = interval(gap.ci, signed=True) if gap else ""
        arrow = {True: " ↑", False: " ↓", None: ""}[r.higher_is_better]
        rows.append([f"{r.metric}{arrow}", _value(r), interval(r.ci), shown, limits, f"{r.n} of {r.targets}"])
    yield "## Utility"
    yield "Of the method, over all targets of the run; not of this module alone."
    yield _table(["metric", "value", "95 %", "Δ np", "95 %", "questions, targets"], rows)


def _audit(record: Record, task: str, label: str) -> Iterator[str]:
    yield "## Membership audit"
    verdicts = [x for x in judged(record, "run") if (x.leak.task, x.leak.method) == (task, label)]
    if verdicts:
        heads = tuple(("", c.name) for c in PANEL[1:])
        cells = tuple(tuple(c.cell(x) for c in PANEL[1:] if c.cell) for x in verdicts)
        table = Table("", ("game",), heads, tuple((x.leak.game,) for x in verdicts), cells)
        yield markdown(table)
        yield from filter(None, ["\n".join(f"- {_text(line)}" for line in footnotes(table))])
        yield from map(_text, LEGEND)
    rows = [
        [r.game or "", r.attack or "", _scored(r.metric), _value(r), interval(r.ci), r.reason or ""]
        for r in record.results
        if (r.task, r.method) == (task, label) and is_leakage(r.metric)
    ]
    if rows:
        yield _table(["game", "attack", "AUC of", "AUC", "95 %", "reason"], rows)
    else:
        yield "No membership game was played on this method."


def _scored(metric: str) -> str:
    """Name what an AUC is of: the model, the unmerged base, or a control."""
    named = {"auc": "the model", "auc_base": "the unmerged base"}
    return named.get(metric, metric.removeprefix("auc_").replace("_", " "))


def _facts(record: Record) -> Iterator[str]:
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
    yield "## How to reproduce it"
    yield _table(["what", "value"], [[k, v] for k, v in facts.items()])
    if record.warnings:
        yield "Warnings of the run:"
        yield "\n".join(f"- {_text(line.partition(NAMED)[0])}" for line in record.warnings)


def _value(result: Result) -> str:
    return missing(result.reason) if result.value is None else number(result.value)


def _text(text: object) -> str:
    return markdown_text(str(text))


def _code(text: str) -> str:
    """Write a text for a fenced block of Python: no character of it ends string or block."""
    return json.dumps(text).replace("`", "\\u0060")


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a pipe table of texts."""
    body = [f"| {' | '.join(map(_text, row))} |" for row in (headers, *rows)]
    return "\n".join([body[0], f"|{'---|' * len(headers)}", *body[1:]])
