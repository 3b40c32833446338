"""``prime-audit completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from prime_audit.commands.printing import about
from prime_audit.io.terminal import say


@about("Print a script that completes names in a shell.", "completion bash > ~/.prime-audit.sh")
@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print a script that lets a shell complete commands, options, methods, attacks, tasks, settings and presets.

    \b
    bash, zsh: source <(prime-audit completion bash)
    fish:      prime-audit completion fish | source
    """
    found = get_completion_class(shell)
    assert found is not None
    made = found(context.find_root().command, {}, "prime-audit", "_PRIME_AUDIT_COMPLETE")
    say(str(made.source_template % made.source_vars()))  # its own source() runs bash to look at the version
