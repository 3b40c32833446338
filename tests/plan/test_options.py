"""One row makes an option: in the command line, compare(), config files, the record's spec and the rerun command."""

from __future__ import annotations

import dataclasses
import inspect
import json
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import prime_audit
from prime_audit.commands.cli import cli
from prime_audit.commands.options import run_options
from prime_audit.errors import UserError
from prime_audit.plan import options
from prime_audit.plan import plan as planning
from prime_audit.plan.config import config_text, read_config
from prime_audit.plan.kinds import (
    Assignments,
    Column,
    Columns,
    Files,
    Flag,
    Folder,
    Names,
    Shorthand,
    Terms,
    Value,
    Whole,
)
from prime_audit.plan.options import OPTIONS, Option, deciding, keywords_of, options_of
from prime_audit.plan.plan import make_plan
from prime_audit.runs.compare import command_line
from prime_audit.runs.rebuild import plan_of

ROWS = options_of("compare")
GIVEN: dict[type[Value], Any] = {
    Value: "text",
    Whole: 7,
    Shorthand: 6,
    Flag: True,
    Folder: Path("folder"),
    Names: "a,b",
}
GIVEN |= {
    Files: [Path("a.py")],
    Assignments: ["clusters=3"],
    Terms: "epsilon=8",
    Columns: "user=who",
    Column: "when",
}
IN_TOML = {Folder: "folder", Names: ["a", "b"], Files: ["a.py"], Assignments: {"clusters": 3}}


def parsed(command: click.Command, words: list[str]) -> dict[str, Any]:
    return command.make_context("bare", [*words]).params


def bare(name: str) -> click.Command:
    @click.command()
    @run_options(name)
    def command(**_: Any) -> None: ...

    return command


# -- a new row, in a test only -----------------------------------------------------------------------------


@pytest.fixture
def flavour(monkeypatch: pytest.MonkeyPatch) -> Option:
    """Add an option that decides the numbers: a row, and a field of the plan."""
    row = Option(name="ice-cream", help="The flavour of the run.", default="plain", decides=True)
    monkeypatch.setattr(options, "OPTIONS", [*OPTIONS, row])
    fields = [("ice_cream", str, dataclasses.field(default="plain"))]
    wider = dataclasses.make_dataclass("Wider", fields, bases=(planning.Plan,), frozen=True, kw_only=True)
    monkeypatch.setattr(planning, "Plan", wider)
    return row


def test_one_row_is_an_option_everywhere(flavour: Option, tmp_path: Path) -> None:
    for name in ("compare", "plan"):
        command = bare(name)
        with click.Context(command) as context:
            assert "--ice-cream TEXT" in command.get_help(context)
            assert "The flavour of the run. [default: plain]" in " ".join(command.get_help(context).split())
        assert parsed(command, ["--ice-cream", "mint"])["ice_cream"] == "mint"
    assert "--ice-cream" not in [p.opts[0] for p in bare("study").params]
    plan = make_plan(methods="np", ice_cream="mint")
    assert plan.spec()["ice_cream"] == "mint"
    assert make_plan(methods="np").spec()["ice_cream"] == "plain"
    assert plan_of(plan.spec(), ["loss"], []).spec() == plan.spec()
    assert "--ice-cream mint" in command_line({"methods": "np", "ice_cream": "mint"})
    (tmp_path / "c.toml").write_text(config_text(plan), encoding="utf-8")
    assert tomllib.loads(config_text(plan))["ice-cream"] == "mint"
    assert read_config(tmp_path / "c.toml")["ice_cream"] == "mint"
    with pytest.raises(UserError, match="unknown option 'icecream': did you mean ice_cream"):
        make_plan(icecream="mint")

    @options.documented("compare")
    def function(**options: Any) -> None:
        """Do.

        Parameters
        ----------
        **options
            All.

        Returns
        -------
        None
        """

    assert "ice_cream : str, default 'plain'\n    The flavour of the run." in (function.__doc__ or "")
    assert inspect.signature(function).parameters["ice_cream"].default == "plain"


# -- every row ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_face_knows_every_row(row: Option, tmp_path: Path) -> None:
    given = row.choices[1] if row.choices else GIVEN[type(row.kind)]
    # The command line reads what the rerun command writes.
    words = row.kind.words(f"--{row.name}", given)
    value = parsed(bare("compare"), words)[row.word]
    assert row.kind.words(f"--{row.name}", value) == words
    # A config file says the same.
    toml = given if row.choices else IN_TOML.get(type(row.kind), given)
    text = f"{row.name} = {json.dumps(toml)}\n" if not isinstance(toml, dict) else "[set]\nclusters = 3\n"
    (tmp_path / "c.toml").write_text(text, encoding="utf-8")
    read = read_config(tmp_path / "c.toml")
    assert row.kind.words(f"--{row.name}", read[row.word]) == words
    # compare() and predict() take and document exactly the keywords of their commands.
    parameters = inspect.signature(prime_audit.compare).parameters
    assert (row.word in parameters) == row.python
    if row.python:
        assert f"{row.word} : " in (prime_audit.compare.__doc__ or "")
    assert (row.word in make_plan(methods="np").spec()) == (row.decides and row.kind.always_in_spec)


def test_functions_take_nothing_else() -> None:
    own = {"compare": {"quiet"}, "predict": {"start_up", "tell"}}
    for function, name in ((prime_audit.compare, "compare"), (prime_audit.predict, "plan")):
        known = {row.word for row in keywords_of(name)}
        assert set(inspect.signature(function).parameters) == known | own[function.__name__]


@pytest.mark.parametrize("row", [r for r in OPTIONS if r.commands != ("study",)], ids=lambda row: row.name)
def test_commands_with_an_option_of_this_name_have_it_from_the_row(row: Option) -> None:
    own = {("data", "strict"), ("stats", "columns")}  # another meaning
    with click.Context(cli) as context:
        for name in cli.list_commands(context):
            command = cli.get_command(context, name)
            assert command is not None
            found = [p for p in command.params if isinstance(p, click.Option) and p.name == row.word]
            for option in found:
                if (name, row.name) not in own and row.word != "out":
                    assert (option.help or "").startswith(row.help)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"settings": {}}, "compare(): unknown option 'settings': did you mean overrides?"),
        ({"set": ["clusters=3"]}, "compare(): unknown option 'set': did you mean overrides?"),
        ({"plugin": []}, "compare(): unknown option 'plugin': did you mean plugins?"),
        ({"sharer-dp": "epsilon=8"}, "did you mean sharer_dp"),
        ({"taks": "LaMP-2"}, "did you mean tasks"),
        ({"no_cache": True}, "unknown option 'no_cache': did you mean cache"),
        ({"temperature": 1}, "unknown option 'temperature'"),
        ({"device": "tpu"}, "--device tpu: give one of auto, cpu, cuda"),
        ({"device": ["cpu"]}, "compare(): device: pass str, not ['cpu']"),
        ({"methods": 3}, "compare(): methods: pass str or sequence of str, not 3"),
        ({"methods": None}, "compare(): methods: pass str or sequence of str, not None"),
        ({"tasks": [2, 4]}, "compare(): tasks: pass str or sequence of str, not [2, 4]"),
        ({"seed": "x"}, "compare(): seed: pass int, not 'x'"),
        ({"seed": True}, "compare(): seed: pass int, not True"),
        ({"strict": "yes"}, "compare(): strict: pass bool, not 'yes'"),
        ({"overrides": "clusters=3"}, "compare(): overrides: pass sequence of str, not 'clusters=3'"),
        ({"overrides": {"clusters": 3}}, "compare(): overrides: pass sequence of str, not {'clusters': 3}"),
        ({"plugins": [3]}, "compare(): plugins: pass sequence of str or Path, not [3]"),
        ({"columns": {"user": 1}}, "compare(): columns: pass str or dict, not {'user': 1}"),
        ({"out": 3}, "compare(): out: pass str or Path, not 3"),
        ({"cache": 3}, "compare(): cache: pass str or Path, not 3"),
        ({"data": Path("my\nfolder")}, r"compare(): data: pass str, not PosixPath('my\nfolder')"),
    ],
)
def test_slips_in_keywords(words: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as fault:
        prime_audit.compare(**{"methods": "np", **words})
    assert says in str(fault.value)
    assert "\n" not in str(fault.value)


def test_predict_and_study_refuse_what_they_do_not_take() -> None:
    with pytest.raises(UserError, match=r"predict\(\): unknown option 'models'"):
        prime_audit.predict("np", models=["x"])
    with pytest.raises(UserError, match=r"study\(\): unknown option 'games'"):
        prime_audit.study("tradeoff", games="paper")
    with pytest.raises(UserError, match=r"predict\(\): seed: pass int"):
        prime_audit.predict("np", seed=1.5)
    with pytest.raises(UserError, match=r"study\(\): models: pass sequence of str, not 'mini'"):
        prime_audit.study("tradeoff", models="mini")
    with pytest.raises(UserError, match=r"study\(\): name: pass str, not 3"):
        prime_audit.study(3)  # type: ignore[arg-type]


def test_the_spec_makes_the_plan_again() -> None:
    words: dict[str, Any] = {
        "methods": "prime:alpha=0.6+rag,perpcs",
        "tasks": "LaMP-2",
        "games": "",
        "against": "perpcs",
        "sharer_dp": "epsilon=8,clip=0.5",
        "overrides": ["clusters=3", "lora.modules=q_proj+v_proj", "LaMP-2.prime.budget=4", "sampling=true"],
        "seed": 3,
        "strict": True,
    }
    spec = json.loads(json.dumps(make_plan(**words).spec()))
    assert json.loads(json.dumps(plan_of(spec, ["loss"], []).spec())) == spec
    assert set(spec) >= {row.word for row in deciding() if row.kind.always_in_spec} | {"settings"}


# -- help --------------------------------------------------------------------------------------------------


def every_command() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    def below(
        path: tuple[str, ...], command: click.Command
    ) -> Iterator[tuple[tuple[str, ...], click.Command]]:
        if path:
            yield path, command
        if isinstance(command, click.Group):
            with click.Context(command) as context:
                for name in command.list_commands(context):
                    found = command.get_command(context, name)
                    assert found is not None
                    yield from below((*path, name), found)

    yield from below((), cli)


COMMANDS = dict(every_command())


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_an_example_that_it_understands(path: tuple[str, ...]) -> None:
    head, *lines = (COMMANDS[path].epilog or "").removeprefix("\b\n").splitlines()
    assert head in ("Example:", "Examples:")
    assert lines
    for line in lines:
        program, *words = shlex.split(line.partition(" > ")[0])
        assert program == "prime-audit"
        assert tuple(words[: len(path)]) == path
        assert len(line) <= 98
        command, rest = cli, words  # to the command that the line names: a group shows one of its own
        while isinstance(command, click.Group):
            name, found, rest = command.resolve_command(click.Context(command), rest)
            assert found is not None, name
            command = found
        command.make_context(command.name, rest)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_of_every_command_says_what_it_is(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help
    assert command.short_help
    assert len(command.short_help) <= 55
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name


@pytest.mark.parametrize("width", [80, 100])
def test_no_summary_is_cut_off(width: int, say: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for words in ((), *(path for path, command in COMMANDS.items() if isinstance(command, click.Group))):
        said = say(*words, "--help")
        assert said.code == 0
        assert "..." not in said.out.partition("Commands:")[2]
        assert len(said.out.partition("Commands:")[2].splitlines()) > 1


def test_a_run_of_an_older_version_chooses_sharers_as_it_did() -> None:
    spec = make_plan(methods="np", tasks="LaMP-2", preset="laptop").spec()
    assert plan_of(spec, ["loss"], []).settings.get("clustered") == "eligible"
    old = {
        **spec,
        "settings": {"LaMP-2": {k: v for k, v in spec["settings"]["LaMP-2"].items() if k != "clustered"}},
    }
    assert plan_of(old, ["loss"], []).settings.get("clustered") == "candidates"
