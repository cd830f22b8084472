"""The command group: commands found by file name, every error on one line."""

from __future__ import annotations

import contextlib
import io
import os
import pkgutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from hashring.cli._operate import COMMANDS
from hashring.errors import ConfigError, HashringError, NoHostsError
from hashring.text import closest, printable

_PACKAGE = __name__.rpartition(".")[0]
_FOLDER = Path(__file__).parent
_LONGEST = 1000  # characters of an error: names in it come from outside
_SUMMARY = 60  # characters of a summary
INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended: 128 + SIGINT


class App(click.Group):
    """A group whose commands are the files beside this one, and those on a running gateway."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, sorted. Cost: one directory listing."""
        return sorted([*_files(), *COMMANDS])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the two lists of commands with their summaries."""
        for title, names in (
            ("Commands", sorted(_files())),
            ("Commands on a running gateway", sorted(COMMANDS)),
        ):
            found = ((name, self.get_command(ctx, name)) for name in names)
            with formatter.section(title):
                formatter.write_dl(
                    [(name, each.get_short_help_str(_SUMMARY)) for name, each in found if each]
                )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command ``cmd_name``, imported now, or None."""
        if cmd_name in COMMANDS:
            return COMMANDS[cmd_name]
        if cmd_name not in _files():
            return None
        found: click.Command = import_module(f"{_PACKAGE}.{cmd_name.replace('-', '_')}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that ``args`` name; an unknown one is a usage error with the closest one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            near = closest(args[0], self.list_commands(ctx))
            if near is not None:
                words = f"there is no command {args[0]!r}: did you mean {near!r}?"
                raise click.UsageError(words, ctx) from None
            raise

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run and exit; an error is one line on stderr."""
        _never_fail_to_print()
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except click.UsageError as error:
            code = _usage(error)
        except click.ClickException as error:
            code = _say(error.format_message(), error.exit_code)
        except HashringError as error:
            code = _say(str(error), _exit_code(error))
        except OSError as error:  # reading logs has errors of its own, so this is writing
            _drop_stdout()
            code = _say(f"cannot write: {error.strerror or error}", 1)
        except (click.Abort, KeyboardInterrupt):
            code = INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that has closed its end (``| head``) is not an error."""
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _drop_stdout()
        return 0


def _files() -> list[str]:
    found = (entry.name for entry in pkgutil.iter_modules([str(_FOLDER)]))
    return [name.replace("_", "-") for name in found if not name.startswith("_")]


def _never_fail_to_print() -> None:
    """Show characters that the terminal's encoding lacks escaped, not as a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(errors="backslashreplace")


def _drop_stdout() -> None:
    """Discard what is left, so that Python's flush at exit does not fail."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: click.UsageError) -> int:
    if error.ctx is None:
        return _say(error.format_message(), error.exit_code)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.ctx.get_help(), err=True)
        return error.exit_code
    hint = f"(see '{error.ctx.command_path} --help')"
    return _say(f"{error.format_message()} {hint}", error.exit_code)


def _say(message: str, code: int) -> int:

    line = printable(" ".join(message.split()), _LONGEST)
    click.echo(f"hashring: {line}", err=True)
    return code


def _exit_code(error: HashringError) -> int:
    if isinstance(error, NoHostsError):
        return 4
    return 3 if isinstance(error, ConfigError) else 1


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        import hashring

        click.echo(f"hashring {hashring.__version__}")
        ctx.exit()


@click.group(
    cls=App,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 failure, 2 usage, 3 bad config, 4 no host. Completion for bash "
    '(or zsh, fish): eval "$(_HASHRING_COMPLETE=bash_source hashring)".',
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
def app() -> None:
    """Sticky sessions by consistent hashing: plan, check and serve."""
