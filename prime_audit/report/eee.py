"""A sheet as records of Every Eval Ever (EEE): a method's utility and leakage in the community's schema.

EEE (EvalEval coalition, arXiv:2606.14516) collects evaluation results of any tool in one format. The fields are those
of ``eval.schema.json`` 0.3.0 in the package ``every-eval-ever``, and the paths those of its data store:
``data/COLLECTION/DEVELOPER/MODEL/UUID.json``. There a model is a published one, so a method is a variant of its base:
each method is one file below the base. No answer, text or user is in it.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import PurePath
from typing import Any, NamedTuple

from prime_audit.folder import RECORD
from prime_audit.io.markup import without_folders
from prime_audit.lamp.tasks import TASKS
from prime_audit.record import NAMED, Data, Record, Result
from prime_audit.report.columns import Shown
from prime_audit.report.games import note_of
from prime_audit.report.sheet import AUC, BASE, Sheet
from prime_audit.report.text import fields_of
from prime_audit.report.views import shown

SCHEMA_VERSION = "0.3.0"
COLLECTION = "prime-audit"


class Name(NamedTuple):
    """What other tools call a metric."""

    id: str
    """Its id in EEE."""
    kind: str
    """Its family; on the Hub, its id."""


METRICS: Mapping[str, Name] = {
    "accuracy": Name("accuracy", "accuracy"),
    "f1": Name("f1_macro", "f1"),
    "MAE": Name("mae", "mae"),
    "RMSE": Name("rmse", "rmse"),
    "rouge-1": Name("rouge1", "rouge"),
    "rouge-L": Name("rougeL", "rouge"),
    "chrf": Name("chrf", "chrf"),
    AUC: Name("auroc", "auroc"),
}
"""By their names here; other metrics are this suite's own."""
_ERRORS = ("MAE", "RMSE")
_HUB = re.compile(r"(?!data/)([a-z0-9][\w.-]*/[a-z0-9][\w.-]*)(?:@(.+))?", re.ASCII | re.IGNORECASE)
"""A model's id on the Hub, and its revision. ``data`` cannot be a developer in EEE's data store."""
_OWN_PLACE = {"task", "method", "metric", "game", "attack", "value", "lo", "hi"}
"""Columns of table.csv that have fields of their own in EEE; all others are details of a score."""
_NO_GAME = "no such game is installed"


def eee_files(
    sheet: Sheet, records: Mapping[str, Record], organization: str, retrieved: float
) -> dict[str, str]:
    """Write a sheet as EEE's files: path in the data store → JSON. A method without any figure has no file.

    ``records``: those behind the figures, by the ids in ``Figure.sources``. ``organization`` provides the data.
    ``retrieved``: seconds since 1970; the only entry that differs between two exports of the same results.
    """
    files, every = {}, list(shown(sheet))
    for label in sheet.methods:
        own = [x for x in every if x.figure.method == label]
        used = {s: records[s] for x in own for s in x.figure.sources if s in records}
        if not used or all(x.figure.value is None for x in own):
            continue
        log = _log(sheet, label, own, used, organization)
        digest = sha256(json.dumps(log, sort_keys=True).encode()).digest()
        model = log["model_info"]
        developer, _, name = model["id"].rpartition("/")
        head = {
            "schema_version": SCHEMA_VERSION,
            "evaluation_id": "/".join((COLLECTION, model["id"], label, digest.hex()[:12])),
            "retrieved_timestamp": str(retrieved),
        }
        file = f"{uuid.UUID(bytes=digest[:16], version=4)}.json"
        path = "/".join(("data", COLLECTION, developer or model["developer"], name, file))
        files[path] = json.dumps(head | log, indent=1, allow_nan=False) + "\n"
    return files


def _log(
    sheet: Sheet, label: str, own: Sequence[Shown], used: Mapping[str, Record], organization: str
) -> dict[str, Any]:
    held = list(used.values())
    first = held[0]
    lacking = {_id(x): x.figure.reason or "no figure" for x in own if x.figure.value is None}
    board = all(s.href != RECORD for s in sheet.sources.values())
    where = f"prime-audit leaderboard {sheet.name}: {sheet.title}" if board else "prime-audit run"
    warnings = list(dict.fromkeys(w.partition(NAMED)[0] for r in held for w in r.warnings))
    return {
        "evaluation_timestamp": max(r.times.finished for r in held),
        "source_metadata": {
            "source_name": where,
            # A run has its raw answers and scores beside it; a board has pooled figures only.
            "source_type": "documentation" if board else "evaluation_run",
            "source_organization_name": organization,
            "evaluator_relationship": "other",
            "additional_details": _texts(
                relationship="the evaluator personalised the models; the base model may be another developer's",
                command=_unique(without_folders(r.command) for r in held),
                seeds=_unique(str(r.seeds.get("run")) for r in held),
                settings=_merged(r.spec.get("settings", {}) for r in held),
                not_applicable=json.dumps(lacking) if lacking else None,
                failures=sum(len(r.failures) for r in held) or None,
                warnings=json.dumps(warnings) if warnings else None,
            ),
        },
        "eval_library": {
            "name": "prime-audit",
            "version": first.versions.get("prime-audit") or "unknown",
            "additional_details": _texts(
                commit=_unique(str(r.code["commit"]) for r in held if r.code.get("commit")) or None,
                judged_by_commit=_unique(str(c) for r in held if (c := r.code.get("judged_commit"))) or None,
                sources_sha256=_unique(str(r.code["sha256"]) for r in held if r.code.get("sha256")) or None,
                verdict_rules=_unique(str(r.rules) for r in held),
            ),
        },
        "model_info": _model(held, label),
        "evaluation_results": [_result(x, used) for x in own if x.figure.value is not None],
    }


def _model(held: Sequence[Record], label: str) -> dict[str, Any]:
    record = held[0]
    model = record.model
    hub = _HUB.fullmatch(model.name)
    name = hub[1] if hub else _plain(PurePath(model.name).name)
    developer = name.split("/")[0] if hub else "prime-audit" if model.name == "mini" else "local"
    return {
        "name": f"{name}, personalised by {label}",
        "id": name,
        "developer": developer,
        "inference_engine": {
            "name": "transformers",
            "version": record.versions.get("transformers") or "unknown",
        },
        "additional_details": _texts(
            deployment_type="self_deployed",
            model_availability="open_weights" if model.name == "mini" else "unknown",
            method=label,
            method_parameters=_merged(r.methods.get(label, {}) for r in held),
            personalised="one model for each target; a score is over all targets",
            base_revision=hub[2] if hub else None,
            base_sha256=model.sha256,
            base_file_sha256=model.file_sha256,
            base_parameters=model.parameters,
            dtype=model.dtype,
            device=record.hardware.get("device"),
        ),
    }


def _plain(name: str) -> str:
    """Return a name that is safe as one part of a path."""
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)[:80].strip("._-") or "model"


def _id(x: Shown) -> str:
    f = x.figure
    return "/".join(filter(None, (f.task, f.game, f.attack, f.metric)))


def _result(x: Shown, used: Mapping[str, Record]) -> dict[str, Any]:
    f = x.figure
    held = [used[s] for s in f.sources if s in used]
    parts = ("prime_audit", f.task, *(("membership", f.game, f.attack) if f.of_a_game else ()))
    result = {
        "evaluation_result_id": _id(x),
        "evaluation_name": ".".join(filter(None, parts)),
        "source_data": _source_data([d for r in held for d in r.data if d.task == f.task], f.task),
        "metric_config": _metric_config(x),
        "score_details": _score(x, held),
    }
    return result | ({} if f.of_a_game else {"generation_config": _generation(held[0], f.task)})


def _source_data(data: Sequence[Data], task: str) -> dict[str, Any]:
    layouts = [d.layout for d in data]
    what = "built-in world of prime-audit" if "world" in layouts else f"{_unique(layouts)} layout"
    return {
        "dataset_name": f"{task}, {what}",
        "source_type": "other",
        "additional_details": _texts(
            layout=_unique(layouts),
            sha256=_unique(d.sha256 for d in data),
            split_sha256=_unique(d.split_sha256 for d in data),
            users=_unique(json.dumps(dict(d.users)) for d in data),
            history_items=_unique(str(d.items) for d in data),
            questions=_unique(str(d.queries) for d in data),
        ),
    }


def _metric_config(x: Shown) -> dict[str, Any]:
    f = x.figure
    own = Name(f"prime_audit.{f.metric}", "auroc" if f.of_a_game else f.metric)
    name = METRICS.get(f.metric, own)
    says = "Answers to the questions of all targets, scored together."
    details = {}
    if f.of_a_game:
        note = x.panels[0].game if x.panels else note_of(f.game)
        control = f"the control {f.metric.removeprefix('auc_')}'s"
        what = {AUC: "the attack's", BASE: "the unmerged base's"}.get(f.metric, control)
        says = f"Membership inference: {what} AUC for each target, mean over targets. {note.says or _NO_GAME}"
        details["direction"] = "0.5 is chance; a distance from it in either direction is signal"
    return {
        "evaluation_description": says,
        "metric_id": name.id,
        "metric_name": f.metric.replace("auc", "AUC").replace("_", " "),
        "metric_kind": name.kind,
        "metric_unit": "points" if f.metric in _ERRORS else "proportion",
        "metric_parameters": {k: v for k, v in (("game", f.game), ("attack", f.attack)) if v},
        "lower_is_better": f.higher_is_better is not True,
        "score_type": "continuous",
        "min_score": 0.0,
        # A model may answer with any number.
        "max_score": "Infinity" if f.metric in _ERRORS else 1.0,
        **({"additional_details": details} if details else {}),
    }


def _score(x: Shown, held: Sequence[Record]) -> dict[str, Any]:
    f = x.figure
    results = [found for r in held if (found := _result_of(x, r))]
    uncertainty: dict[str, Any] = {"num_samples": sum(r.n for r in results)}
    draws = held[0].intervals.draws
    if f.ci:
        how = "leaving one person out at a time (jackknife), Student's t"
        if len(held) > 1:
            how = "users' and seeds' variance, Student's t"
        elif draws:
            how = "bootstrap percentiles"
            uncertainty["num_bootstrap_samples"] = draws
        uncertainty["confidence_interval"] = {
            "lower": f.ci[0],
            "upper": f.ci[1],
            "confidence_level": held[0].intervals.level,
            "method": how,
        }
    if len(results) == 1 and results[0].se is not None:
        uncertainty["standard_error"] = {"value": results[0].se, "method": "jackknife over people"}
    details = {name: value for name, value in fields_of(x).items() if name not in _OWN_PLACE}
    return {"score": f.value, "uncertainty": uncertainty, "details": _texts(**details)}


def _result_of(x: Shown, record: Record) -> Result | None:
    f = x.figure
    key = (f.task, f.method, f.metric, f.game, f.attack)
    return next((r for r in record.results if (r.task, r.method, r.metric, r.game, r.attack) == key), None)


def _generation(record: Record, task: str) -> dict[str, Any]:
    """Say how answers were generated; the settings of an older or foreign record may lack anything."""
    own = record.spec.get("settings", {}).get(task, {})
    sampled = own.get("sampling") is True
    arguments = {
        "temperature": own.get("temperature") if sampled else 0.0,  # 0: greedy decoding
        "top_p": own.get("top_p") if sampled else None,
        "max_tokens": own.get("max_new"),
        "execution_command": without_folders(record.command),
        "prompt_template": TASKS[task].instruction if task in TASKS else None,
    }
    numbers = {"temperature": (int, float), "top_p": (int, float), "max_tokens": (int,)}
    kept = {k: v for k, v in arguments.items() if v is not None and isinstance(v, numbers.get(k, (str,)))}
    return {"generation_args": kept}


def _unique(texts: Iterable[str]) -> str:
    return " | ".join(dict.fromkeys(texts))


def _merged(tables: Iterable[Mapping[str, Any]]) -> str:
    """Write tables by task as one: a board's records may be of different tasks."""
    return json.dumps({task: own for table in tables for task, own in table.items()}, sort_keys=True)


def _texts(**values: object) -> dict[str, str]:
    """Write values as the texts that EEE's details are; those that have none are left out."""
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return {name: text for name, text in texts.items() if text != "null" and text.strip(" |")}
