"""Commands at the suite's edge: modules for plain PEFT, shell completion, worked examples."""

from __future__ import annotations

from pathlib import Path

import click

from prime_audit.commands import completing
from prime_audit.commands.options import given_options, task_option, with_cache
from prime_audit.io.terminal import print_table, say


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--target", required=True, metavar="ID", help="Whose model.")
@click.option(
    "--method", metavar="M", help="As the run names it.  [default: its only one beside np]",
    shell_complete=completing.method,
)  # fmt: skip
@task_option
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@given_options
@with_cache
def export(
    run: Path,
    target: str,
    method: str | None,
    task: str | None,
    out: Path,
    sharers: Path | None,
    base_adapter: Path | None,
    cache: Path | None,
    no_cache: bool,
) -> None:
    """Write a target's model as one adapter that plain PEFT loads on the original base, with a model card."""
    from prime_audit.community.store import default_cache
    from prime_audit.errors import UserError
    from prime_audit.export.export import export as write

    if no_cache:
        raise UserError("--no-cache: the adapters come from the cache; leave it out, or give --cache DIR")
    kept = cache or default_cache()
    made = write(run, target, method, out, task=task, cache=kept, sharers=sharers, base_adapter=base_adapter)
    say(
        f"{out}: {made.label} of {made.shown} on {made.task}, rank {made.rank}; its README.md says how to load it"
    )


@click.command()
@click.argument("shell", type=click.Choice(completing.SHELLS))
def completion(shell: str) -> None:
    """Print what makes a shell complete names: methods, attacks, tasks, presets, studies.

    For bash: source <(prime-audit completion bash); zsh likewise; fish: prime-audit completion fish | source.
    """
    say(completing.script(shell))


@click.command()
@click.argument("name", required=False, shell_complete=completing.example)
@click.option("--out", default=".", type=click.Path(path_type=Path), help="Folder to copy it into.")
def examples(name: str | None, out: Path) -> None:
    """List the worked examples, or copy one out to be changed."""
    from prime_audit.examples import EXAMPLES, copy_out

    if name is None:
        print_table([[key, what] for key, what in EXAMPLES.items()], ["example", "what"])
        return
    say(f"{copy_out(name, out)}: its first lines say how to run it")
