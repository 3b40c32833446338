"""``--config``: any word of a command in a file, and in every run folder the file that repeats it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prime_audit import Run, load_run
from prime_audit.errors import UserError
from prime_audit.plan.config import config_text, read_config
from prime_audit.plan.options import given_of
from prime_audit.plan.plan import make_plan

Say = Callable[..., Any]


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        (tmp_path / "c.toml").write_text(text, encoding="utf-8")
        return tmp_path / "c.toml"

    return write


def test_a_runs_config_repeats_it(
    quick: Callable[..., Run], say: Say, tmp_path: Path, content: Callable[[Run], Any]
) -> None:
    run = quick(
        "prime:alpha=0.6,k=2+rag,perpcs",
        games="heldout",
        attacks="loss,zlib",
        against="perpcs",
        seed=3,
        sets=["lora.modules=q_proj+v_proj", "LaMP-4.prime.budget=4", "prime.trim=dare", "sampling=true"],
    )
    said = say("compare", "--config", run.path / "config.toml", "--out", tmp_path / "again", "--no-cache")
    assert said.code == 0, said.err
    first, second = content(run), content(load_run(tmp_path / "again"))
    assert first.pop("command") != second.pop("command")
    assert first == second
    assert (tmp_path / "again" / "config.toml").read_bytes() == (run.path / "config.toml").read_bytes()
    # The same file is the words of the API.
    api = make_plan(**read_config(run.path / "config.toml"))
    assert json.loads(json.dumps(api.spec())) == json.loads(json.dumps(run.record.spec))


def test_the_command_line_wins_key_by_key(
    say: Say, file: Callable[[str], Path], small: Any, small_data: Any, llama_folder: Path, tmp_path: Path
) -> None:
    sets = "".join(f"{key!r} = {value}\n" for key, value in (pair.split("=") for pair in small))
    config = file(
        f'methods = ["rag", "pag"]\ndata = "{small_data("LaMP-4")}"\nmodel = "{llama_folder}"\nseed = 4\n'
        f'games = ""\nout = "{tmp_path / "from-file"}"\nno-cache = true\njson = true\n[set]\n{sets}'
    )
    said = say(
        "compare", "--config", config, "--methods", "rag", "--set", "max_new=3", "--out", tmp_path / "cli"
    )
    assert said.code == 0, said.err
    spec = json.loads(said.out)["spec"]  # json = true
    assert (spec["methods"], spec["seed"], spec["games"]) == (["np", "rag"], 4, [])
    assert spec["overrides"]["max_new"] == 3
    assert spec["overrides"]["lora.rank"] == 2
    assert (tmp_path / "cli").is_dir()
    assert not (tmp_path / "from-file").exists()
    assert say("plan", "--config", config, "--methods", "np").code == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('seed = 1\nmethod = "np"\n', "c.toml, line 2: unknown option 'method': did you mean methods"),
        ('\n\nseed = "1"\n', "c.toml, line 3: seed is a whole number, not"),
        ("seed = true\n", "line 1: seed is a whole number"),
        ("strict = 1\n", "strict is true or false"),
        ("methods = [1]\n", "methods is text, or a list of texts"),
        ("data = 3\n", "data is text"),
        ("set = 3\n", "set is a table, [set]"),
        ("[set]\nclusters = [1]\n", "set.clusters is a number, true, false or text"),
        ("[set]\nclusters = 2024-01-01\n", "set.clusters is a number"),
        ("[set]\nclustres = 3\n", "did you mean clusters"),
        ("seed = \n", "not valid TOML: "),
        ("seed = 1\nseed = 2\n", "not valid TOML: "),
        ('preset = "papper"\n', "did you mean paper"),
    ],
)
def test_what_is_wrong_is_one_line(say: Say, file: Callable[[str], Path], text: str, says: str) -> None:
    said = say("compare", "--config", file(text), "--methods", "np")
    assert said.code == 2
    assert says in said.err, said.err
    assert len(said.err.splitlines()) == 1


def test_a_file_that_is_none(say: Say, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    for path in (tmp_path / "none.toml", tmp_path, tmp_path / "binary"):
        said = say("compare", "--config", path)
        assert said.code == 2
        assert str(path) in said.err
        assert len(said.err.splitlines()) == 1


texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20)


@settings(deadline=None)  # the first try imports what the others find
@given(
    data=texts, model=texts.filter(bool), encoder=texts, seed=st.integers(0, 2**40), rate=st.floats(1e-9, 1e3)
)
def test_what_is_written_is_read_back(data: str, model: str, encoder: str, seed: int, rate: float) -> None:
    plan = make_plan(
        methods="prime:alpha=0.6,k=2+rag",
        tasks="LaMP-2",
        data=data,
        model=model,
        encoder=encoder,
        seed=seed,
        overrides=[f"sharer.lr={rate!r}", "lora.modules=q_proj", f"profiler={model}"],
        sharer_dp="epsilon=3.3,clip=0.7",
        plugins=[],
    )
    text = config_text(plan)
    assert tomllib.loads(text)["seed"] == seed
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "c.toml").write_text(text, encoding="utf-8")
        again = make_plan(**read_config(Path(folder) / "c.toml"))
    assert again.spec() == plan.spec()
    assert config_text(again) == text


def test_the_head_says_from_where_relative_paths_count(
    file: Callable[[str], Path], say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "items.jsonl").write_text('{"user": "u"', encoding="utf-8")
    text = config_text(make_plan(methods="np", tasks="LaMP-4", data="items.jsonl"))
    head = " ".join(line for line in text.splitlines() if line.startswith("#"))
    assert "Run it from the folder where the run was started" in head
    config = file(text)
    monkeypatch.chdir(tmp_path)
    assert "line 1: damaged" in say("compare", "--config", config).err  # found where the command runs
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    said = say("compare", "--config", config)
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert "items.jsonl" in said.err
    assert "no such file or folder" in said.err


@pytest.mark.parametrize("text", ["[set]\nclusters = 9\n", ""])
def test_the_last_word_wins_whatever_was_said_before(file: Callable[[str], Path], text: str) -> None:
    import click

    from prime_audit.commands.options import config_option, run_options
    from prime_audit.settings import load_settings

    @click.command()
    @run_options("compare")
    @config_option
    def bare(**options: Any) -> Any:
        return load_settings("laptop", options["overrides"]).get("clusters")

    words = [word for n in (9, 8, 9) for word in ("--set", f"clusters={n}")]
    assert bare.main(["--config", str(file(text)), *words], standalone_mode=False) == 9
    assert bare.main(["--config", str(file(text)), *words[:4]], standalone_mode=False) == 8


def test_a_cache_that_is_named_wins_over_none(file: Callable[[str], Path], tmp_path: Path) -> None:
    import click

    from prime_audit.commands.options import config_option, run_options

    @click.command()
    @run_options("compare")
    @config_option
    def bare(**options: Any) -> Any:
        return options["cache"], options["no_cache"]

    words = ["--config", str(file("no-cache = true\n"))]
    assert bare.main(words, standalone_mode=False) == (None, True)
    assert bare.main([*words, "--cache", str(tmp_path)], standalone_mode=False) == (tmp_path, False)
    assert bare.main(["--cache", str(tmp_path), "--no-cache"], standalone_mode=False) == (tmp_path, True)


def test_unknown_keys_name_the_file(file: Callable[[str], Path]) -> None:
    with pytest.raises(UserError, match="unknown option 'sharerdp': did you mean sharer"):
        read_config(file('sharerdp = "epsilon=1"\n'))
    assert read_config(file('sharer_dp = "epsilon=1"\n')) == {"sharer_dp": "epsilon=1"}


def test_columns_of_items_come_back(tmp_path: Path) -> None:
    """From the command line's words, a file's text or table, and a record's specification."""
    plan = make_plan(tasks="LaMP-2", data="x.csv", columns="user=author,input=text", time_column="day")
    assert plan.columns == {"user": "author", "input": "text", "time": "day"}
    assert "time_column" not in plan.spec()
    table = 'time-column = "day"\n[columns]\nuser = "author"\ninput = "text"\n'
    for text in (config_text(plan), f'tasks = "LaMP-2"\ndata = "x.csv"\n{table}'):
        (tmp_path / "c.toml").write_text(text)
        assert make_plan(**read_config(tmp_path / "c.toml")).spec() == plan.spec()
    assert make_plan(**given_of(plan.spec())).spec() == plan.spec()
    assert not {"columns", "time_column"} & make_plan(tasks="LaMP-2").spec().keys()
    with pytest.raises(UserError, match="unknown role 'who'; roles are user, input, output, id, time"):
        make_plan(tasks="LaMP-2", columns="who=x")
