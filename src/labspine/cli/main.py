"""
The ``labspine`` command: its verbs and how it ends.

Heavy packages are imported inside the commands, so that ``--help`` is quick.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from .._version import __version__
from ..errors import LabspineError
from .context import EXIT_CODES, exit_code, say, warn
from .demo import end_with_owner

__all__ = ["app", "run"]

app = typer.Typer(
    name="labspine",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="One bus, one engine and one page for a whole laboratory.",
    epilog="Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + ".",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"labspine {__version__}")
        raise typer.Exit


@app.callback()
def _labspine(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _add_commands() -> None:
    from . import (
        acl,
        ask,
        check_plan,
        control,
        demo,
        doctor,
        queues,
        recover,
        say,
        schema,
        services,
        show,
        submit,
        tail,
        top,
        up,
        watch,
    )

    for module in (
        up,
        demo,
        submit,
        check_plan,
        watch,
        control,
        recover,
        show,
        services,
        queues,
        ask,
        tail,
        say,
        top,
        doctor,
        schema,
        acl,
    ):
        module.add_to(app)


_add_commands()


def run() -> None:
    """Run the command line and end the process; an error is a sentence and an exit code, not a traceback."""
    end_with_owner()
    try:
        result = app(standalone_mode=False)
    except (LabspineError, OSError, KeyboardInterrupt, typer.Abort, typer.Exit) as error:
        result = _end(error)
    except Exception as error:
        result = _end_by_usage(error)
    sys.exit(result if isinstance(result, int) else 0)


def _end(error: BaseException) -> int:
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, BrokenPipeError) and not isinstance(error, LabspineError):
        # The reader of our output went away, as `head` does: nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return 130
    warn(f"✘ {error}")
    return exit_code(error)


def _end_by_usage(error: Exception) -> int:
    """Show click's own usage errors (wrong option, missing argument) as click words them."""
    code = getattr(error, "exit_code", None)
    show = getattr(error, "show", None)
    if callable(show) and isinstance(code, int):
        show()
        return code
    raise error
