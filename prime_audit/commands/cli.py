"""The command line: each command is a file of this package, imported when it is needed."""

from __future__ import annotations

import errno
import sys
from importlib import import_module

import click

from prime_audit import __version__
from prime_audit.commands.options import CONTEXT
from prime_audit.errors import UserError, unknown
from prime_audit.io.log import LOG
from prime_audit.io.stopping import Stopped, stopping
from prime_audit.io.terminal import error_line

CUT_OFF = "no unfinished output is left; rerun the same command to resume from the cache"
"""Printed where a signal ended a command."""
COMMANDS = (
    *("compare", "plan", "show", "attack", "study", "leaderboard", "export-results"),
    *("list", "describe", "prompts", "data", "score", "stats"),
    *("merge", "export", "new", "doctor", "calibrate", "cache", "examples", "completion"),
)
"""In the order of ``--help``: run and read results, look things up, work on data, adapters, plugins."""


class _Commands(click.Group):
    """A group whose commands are the modules of this package: the object ``command`` of each."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(f"prime_audit.commands.{cmd_name.replace('-', '_')}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise unknown("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="prime-audit")
def cli() -> None:
    """Audit personalised language models: how much they help their users, and whose data they leak.

    \b
    Start with:
      prime-audit compare --methods np,rag,prime --tasks LaMP-2
    """


def main() -> None:
    """Run the command; UserErrors, full disks and signals end it with one line and their exit code."""
    try:
        with stopping():
            cli(standalone_mode=False)
    except UserError as fault:
        _end(error_line(str(fault)), 2)
    except click.exceptions.NoArgsIsHelpError as fault:
        fault.show()
        sys.exit(2)
    except click.ClickException as fault:
        _end(error_line(fault.format_message()), 2)
    except (click.Abort, KeyboardInterrupt):
        _end(f"interrupted; {CUT_OFF}", 130)
    except Stopped as fault:
        _end(f"ended by {fault.name}; {CUT_OFF}", fault.code)
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        sys.stderr.close()
        sys.exit(141)
    except OSError as fault:
        # A disk may fill anywhere: below a library's own temporary files, on standard output.
        if fault.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        where = f"{fault.filename}: " if fault.filename else ""
        _end(f"{error_line(f'{where}{fault.strerror}')}; free some space and rerun", 2)


def _end(message: str, code: int) -> None:
    LOG.critical(message)
    click.echo(f"prime-audit: {message}", err=True)
    sys.exit(code)
