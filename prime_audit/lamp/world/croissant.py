"""A written world's ``croissant.json``: what its files hold, and how far to trust them.

MLCommons' Croissant 1.0 describes files, records and fields; its vocabulary for responsible AI (RAI 1.0) says how the
data came about and what they are for. Both: https://docs.mlcommons.org/croissant/.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prime_audit.lamp.tasks import Task

FILE = "croissant.json"
_CONFORMS = ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"]
_OWN_WORDS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet"),
    *("format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet"),
    *("references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField"),
    "transform",
)
_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    **{name: f"cr:{name}" for name in _OWN_WORDS},
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}
"""The context that the specification asks for."""


@dataclass(frozen=True)
class _Records:
    """The records of one file."""

    name: str
    file: str
    """Relative to the folder."""
    says: str
    path: str
    """JSON path of a record."""
    key: str
    """The field that identifies a record."""
    fields: tuple[str, ...] = ()
    """Further fields."""
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Entry of a record that lists further ones -> their fields."""


def croissant(task: Task, folder: Path, layout: str, seed: int, sizes: Mapping[str, Any]) -> str:
    """Describe the files of a world in ``folder`` as JSON-LD; ``sizes``: the fields of ``world.Sizes``."""
    today = datetime.now(UTC).date().isoformat()
    number = version("prime-audit")
    sets = list(_record_sets(task, layout))
    content = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _CONFORMS,
        "name": f"prime-audit world, {task.name}, seed {seed}",
        "description": (
            f"Simulated users for {task.name} of the LaMP benchmark, in the files of {_LAYOUTS[layout]}. "
            f"prime-audit {number} generated them with seed {seed}."
        ),
        "citeAs": (
            "@software{prime_audit, author = {{The prime-audit authors}}, title = {prime-audit: utility and membership "
            f"leakage of personalised language models}}, version = {{{number}}}}}"
        ),
        "creator": {"@type": "sc:Organization", "name": "The prime-audit authors"},
        "datePublished": today,
        "license": "https://spdx.org/licenses/Apache-2.0.html",
        "inLanguage": "en",
        "keywords": ["synthetic", "personalisation", "LaMP", "membership inference"],
        "version": number,
        "distribution": [_file(folder, one.file) for one in sets],
        "recordSet": [_record_set(one) for one in sets],
        **{f"rai:{name}": text for name, text in _rai(task, seed, sizes).items()},
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _rai(task: Task, seed: int, sizes: Mapping[str, Any]) -> dict[str, str | list[str]]:
    made = ", ".join(f"{name} {value}" for name, value in sizes.items())
    gold = "the gold" if task.labels else "how the gold is worded"
    return {
        "dataCollection": (
            "Nothing was collected. A program draws users in clusters of like-minded ones, each with a hidden taste. "
            "It fills templates with words of a fixed, invented vocabulary. Seed and sizes decide every text: "
            f"prime-audit data world --task {task.name} --seed {seed}. Sizes: {made}."
        ),
        "dataCollectionType": ["Others"],
        "dataCollectionRawData": "None: all texts are synthetic. Tasks, prompts and file formats follow LaMP.",
        "dataAnnotationProtocol": (
            f"No person labelled anything. The user's taste decides {gold}; a share of the decisions is random "
            f"(noise {sizes['noise']:g}), so that it can only be memorised."
        ),
        "personalSensitiveInformation": [
            "None. No user exists, and no text of a person went in. Resemblance to people or places is chance."
        ],
        "dataBiases": [
            "Users of a cluster are alike by construction. Clusters have equal sizes, and histories similar lengths. "
            "Real users are not like that."
        ],
        "dataLimitations": [
            "Templates and a small vocabulary: a tiny model learns them. How large utility and leakage are for real "
            "people cannot be read from these data.",
            "English only. Items have no dates.",
            "Not for training models that people use.",
        ],
        "dataUseCases": [
            "Testing and teaching: methods of personalisation, membership inference attacks, and audits of both.",
            "Development without personal data or downloads.",
        ],
        "dataSocialImpact": (
            "Audits can be developed without exposing anyone. A method that looks safe here may still leak real data."
        ),
        "dataReleaseMaintenancePlan": (
            "Generated where it is needed. Texts change only with a version of prime-audit; its changelog says so."
        ),
    }


_LAYOUTS: Mapping[str, str] = {"perpcs": "Per-Pcs", "official": "LaMP itself"}
_ROLES = (
    ("adapt", "user_base_LLM.json", "adapt the base model"),
    ("candidates", "user_anchor_candidate.json", "may share"),
    ("targets", "test_100/user_test_100.json", "are personalised and tested"),
)
_LISTS: Mapping[str, str] = {"profile": "history", "query": "questions"}
"""Entry of a user -> its name here."""


def _record_sets(task: Task, layout: str) -> Iterator[_Records]:
    profile = {"profile": ("id", *task.item_fields, *task.optional_fields)}
    golds = "test_100/user_test_100_label.json"
    if layout == "official":
        golds, questions = "dev_outputs.json", "dev_questions.json"
        says = "Questions, each with the history of its user"
        yield _Records("questions", questions, says, "$[*]", "id", ("user_id", "input"), profile)
    else:
        for role, file, who in _ROLES:
            lists = profile | ({} if role == "candidates" else {"query": ("id", "input", "gold")})
            yield _Records(role, file, f"Users who {who}", "$[*]", "user_id", lists=lists)
    yield _Records("golds", golds, "Expected outputs of questions", "$.golds[*]", "id", ("output",))


def _file(folder: Path, name: str) -> dict[str, Any]:
    raw = (folder / name).read_bytes()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{len(raw)} B",
        "encodingFormat": "application/json",
        "sha256": sha256(raw).hexdigest(),
    }


def _record_set(one: _Records) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": one.name,
        "name": one.name,
        "description": f"{one.says}.",
        "key": {"@id": f"{one.name}/{one.key}"},
        "field": [
            *({**_field(one, name, name), "dataType": "sc:Text"} for name in (one.key, *one.fields)),
            *(_list(one, entry, names) for entry, names in one.lists.items()),
        ],
    }


def _list(one: _Records, entry: str, names: Iterable[str]) -> dict[str, Any]:
    """Describe what a record lists: each field of each of its entries."""
    within = []
    for name in names:
        found = _field(one, f"{_LISTS[entry]}/{name}", entry)
        found["source"]["transform"] = {"jsonPath": name}
        within.append(found | {"dataType": "sc:Text"})
    # With a source of its own: mlcroissant reads none that only sub-fields name.
    return _field(one, _LISTS[entry], entry) | {"repeated": True, "subField": within}


def _field(one: _Records, name: str, path: str) -> dict[str, Any]:
    source = {"fileObject": {"@id": one.file}, "extract": {"jsonPath": f"{one.path}.{path}"}}
    return {"@type": "cr:Field", "@id": f"{one.name}/{name}", "name": name, "source": source}
