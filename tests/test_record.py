"""The record's format and its folder; run this file to write ``record.schema.json`` again."""

from __future__ import annotations

import ast
import inspect
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from prime_audit import record as record_module
from prime_audit.errors import UserError
from prime_audit.folder import RunFolder, load_run, write_atomic
from prime_audit.record import (
    SCHEMA,
    Cost,
    Model,
    Record,
    StageSeconds,
    Times,
    record_from_json,
)
from tests import records

SCHEMA_FILE = Path(record_module.__file__).with_name("record.schema.json")
_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}


def build_schema() -> dict[str, Any]:
    """Build the schema of ``Record``: every field with the line of documentation under it."""
    definitions: dict[str, Any] = {}
    whole = _object(Record, definitions)
    whole["properties"]["schema"]["const"] = SCHEMA
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": SCHEMA}
    return {**head, **whole, "$defs": dict(sorted(definitions.items()))}


def _object(cls: type[Any], definitions: dict[str, Any]) -> dict[str, Any]:
    hints, docs = typing.get_type_hints(cls), _field_docs(cls)
    return {
        "description": inspect.cleandoc(cls.__doc__ or ""),
        "type": "object",
        "properties": {
            f.name: {"description": docs[f.name], **_type(hints[f.name], definitions)} for f in fields(cls)
        },
        "required": [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
        + (["schema"] if cls is Record else []),
        "additionalProperties": False,
    }


def _type(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return {}
    if origin is types.UnionType:
        return {"anyOf": [_type(argument, definitions) for argument in arguments]}
    if hint is type(None):
        return {"type": "null"}
    if is_dataclass(hint):
        assert isinstance(hint, type)
        definitions[hint.__name__] = _object(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if origin is tuple:
        inner = _type(arguments[0], definitions)
        if arguments[-1] is Ellipsis:
            return {"type": "array", "items": inner}
        return {"type": "array", "items": inner, "minItems": len(arguments), "maxItems": len(arguments)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _type(arguments[1], definitions)}
    return {"type": _SCALARS[hint]}


def _field_docs(cls: type[Any]) -> dict[str, str]:
    """Read the string under each field of a dataclass; a field without one fails here."""
    (tree,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for statement, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign):
            assert isinstance(statement.target, ast.Name)
            assert isinstance(below, ast.Expr)
            docs[statement.target.id] = " ".join(ast.literal_eval(below.value).split())
    return docs


@pytest.fixture
def record() -> Record:
    """Make a small record with every kind of entry."""
    data = records.data(
        users={"targets": 2}, items=90, queries=12, defects=1, first_defects=("f.json: 7: empty (skipped)",)
    )
    times = Times(
        started="2026-01-01T00:00:00Z",
        finished="2026-01-01T00:01:00Z",
        stages=(StageSeconds(None, None, "adapt", 3.5),),
        peak_memory_bytes=10**9,
    )
    return Record(
        command="prime-audit compare --methods np,prime",
        spec={"k": 3, "tasks": ["LaMP-2"]},
        methods={"np": {"LaMP-2": {}}, "prime": {"LaMP-2": {"alpha": 0.6}}},
        seeds={"run": 0},
        versions={"numpy": "2.3"},
        data=(data,),
        model=Model("mini", "c" * 64, 350_000, "float32"),
        hardware={"device": "cpu", "cores": 2},
        results=(
            records.result(higher_is_better=True, targets=2),
            records.result(
                metric="auc", value=None, ci=None, n=0, reason="merges nobody", game="paper", attack="loss"
            ),
        ),
        times=times,
        comparisons=(records.comparison(),),
        community={"LaMP-2": {"sharers": [{"index": 0, "cluster": 4}]}},
        costs=(Cost(task="LaMP-2", method="prime", stage="fit", requests=10, candidates=30),),
        warnings=("2 inputs were cut",),
    )


def saved(record: Record, folder: Path) -> Path:
    RunFolder.create(folder, "hash").write_record(record)
    return folder


def test_schema_file_is_that_of_the_dataclasses() -> None:
    assert json.loads(SCHEMA_FILE.read_text(encoding="utf-8")) == build_schema()


def test_record_fits_its_schema(record: Record) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    content = json.loads(json.dumps(record.to_json()))
    checker = jsonschema.Draft202012Validator(build_schema())
    checker.check_schema(build_schema())
    checker.validate(content)
    content["results"][0]["value"] = "high"
    content["surprise"] = 1
    assert len(list(checker.iter_errors(content))) == 2


def test_round_trip(record: Record, tmp_path: Path) -> None:
    folder = saved(record, tmp_path / "a" / "b")
    assert load_run(folder).record == record
    assert load_run(folder / "record.json").record == record


def test_only_times_differ_between_two_runs(record: Record, tmp_path: Path) -> None:
    first = json.loads((saved(record, tmp_path / "one") / "record.json").read_text())
    later = replace(record, times=replace(record.times, started="later"))
    second = json.loads((saved(later, tmp_path / "two") / "record.json").read_text())
    assert first.pop("times") != second.pop("times")
    assert first == second
    assert {"task", "method", "metric", "value", "ci", "n"} <= set(first["results"][0])
    assert (first["results"][1]["value"], first["results"][1]["reason"]) == (None, "merges nobody")


def test_rows_are_read_back(record: Record, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "hash")
    folder.write_record(record)
    rows = [{"id": "q1", "prediction": "Drama – é"}, {"id": "q2", "prediction": "half \ud83d"}]
    folder.write_jsonl("predictions.jsonl", rows)
    run = load_run(folder.path)
    assert list(run.predictions()) == rows
    with pytest.raises(UserError, match=r"cannot read .*scores\.jsonl"):
        list(run.scores())
    (folder.path / "scores.jsonl").write_text('{"score": 1.0}\n{"score": ')
    with pytest.raises(UserError, match=r"scores\.jsonl: line 2 is damaged"):
        list(run.scores())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_is_never_written(tmp_path: Path, bad: float) -> None:
    folder = RunFolder.create(tmp_path, "hash")
    with pytest.raises(ValueError, match=r"scores\.jsonl: Out of range"):
        folder.write_jsonl("scores.jsonl", [{"score": 1.0}, {"score": bad}])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.json"]


def test_a_folder_belongs_to_one_run(record: Record, tmp_path: Path) -> None:
    saved(record, tmp_path / "run")
    RunFolder.create(tmp_path / "run", "hash")  # the same run may use it again
    with pytest.raises(UserError, match="holds another run: choose another --out"):
        RunFolder.create(tmp_path / "run", "other")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "record.json").write_text("{}")
    with pytest.raises(UserError, match="holds another run"):
        RunFolder.create(tmp_path / "foreign", "hash")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot create output folder"):
        RunFolder.create(tmp_path / "file", "hash")


def test_a_failed_save_is_an_error_and_leaves_what_was_there(tmp_path: Path) -> None:
    write_atomic(tmp_path / "x", ["before"])

    def chunks() -> typing.Iterator[str]:
        yield "half"
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"cannot save .*: No space left on device; free some space"):
        write_atomic(tmp_path / "x", chunks())
    assert (tmp_path / "x").read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    with pytest.raises(UserError, match="cannot save"):
        write_atomic(tmp_path / "absent" / "x", ["text"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ('{"schema": NaN}', "NaN is not JSON"),
        ("[]", "expected a JSON object"),
        ("{}", "is not a prime-audit record"),
        ('{"schema": "other/record/1"}', "is not a prime-audit record"),
        (
            '{"schema": "prime-audit/record/2"}',
            "has format 2, but this prime-audit reads 1: install a newer version",
        ),
        ('{"schema": "prime-audit/record/1"}', "missing command, spec"),
    ],
)
def test_bad_records(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_run(tmp_path)
    assert "record.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_undecodable_records(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no record\.json: pass the --out folder"):
        load_run(tmp_path)
    with pytest.raises(UserError, match=r"cannot read .*absent"):
        load_run(tmp_path / "absent")
    (tmp_path / "record.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is damaged"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("results", 0, "value"), "high", r'results\[0\]: value: unexpected "high"'),
        (("results", 0, "ci"), [0.1], r"results\[0\]: ci: unexpected"),
        (("results", 0, "n"), True, r"n: unexpected true"),
        (("model",), None, "model: expected an object"),
        (("seeds", "run"), 1.5, r"seeds\.run: unexpected 1\.5"),
        (("data",), {}, "data: unexpected"),
    ],
)
def test_a_damaged_field_is_named(record: Record, path: tuple[Any, ...], value: Any, message: str) -> None:
    content = json.loads(json.dumps(record.to_json()))
    entry = content
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = value
    with pytest.raises(UserError, match=message):
        record_from_json(content)


def test_fields_of_a_later_minor_version_are_passed_over(record: Record) -> None:
    assert record_from_json({**json.loads(json.dumps(record.to_json())), "novel": 1}) == record


if __name__ == "__main__":
    SCHEMA_FILE.write_text(json.dumps(build_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
