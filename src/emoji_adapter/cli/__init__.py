"""The command line `emoji-adapter`: one module a command, imported when it is called.

Exit codes: 0 done, 1 a fault of ours, 2 an input that cannot be used, 130 interrupted by the user.
"""

import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from emoji_adapter.errors import EmojiAdapterError

DEBUG_VARIABLE = "EMOJI_ADAPTER_DEBUG"
"""Environment variable that shows tracebacks and the libraries' warnings, like `--debug`."""

COMMANDS = (
    "generate",
    "prepare",
    "idi",
    "train",
    "probe",
    "evaluate",
    "accept",
    "push",
    "convert",
    "microworld",
    "doctor",
)
"""Names of the commands, each a module of this package that exposes `command`: a function or a `Typer`."""

_CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
"""`ClickException`, of click or of the copy that newer typers carry."""


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the module of one command; None when there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"emoji_adapter.cli.{cmd_name}").command
        if not isinstance(command, typer.Typer):
            function, command = command, typer.Typer(add_completion=False)
            command.command(cmd_name)(function)
        made = typer.main.get_command(command)
        made.name = cmd_name
        return made


app = typer.Typer(cls=LazyGroup, name="emoji-adapter", no_args_is_help=True, add_completion=False)


def _version(wanted: bool) -> bool:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"emoji_adapter {version('emoji_adapter')}")
        raise typer.Exit
    return wanted


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks and warnings."),
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_version, help="Show the version."
    ),
) -> None:
    """Any person, any expression, any prompt: portraits with Stable Diffusion."""
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"
    if not _debugging():
        _quiet()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after the program's name; those of the process by default.

    Returns:
        The exit code.
    """
    try:
        result = typer.main.get_command(app)(args=arguments, prog_name="emoji-adapter", standalone_mode=False)
        if result == 130:  # how newer typers hand over Ctrl-C
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        _say("Interrupted; unfinished files were not kept.")
        return 130
    except Exception as error:
        return _explain(error)


def _explain(error: Exception) -> int:
    """Say what went wrong in one line, with the traceback before it when debugging; returns the exit code."""
    if _debugging():
        traceback.print_exception(error)
    if isinstance(error, _CLICK_ERROR):
        return _explain_usage(error)
    if isinstance(error, EmojiAdapterError | OSError):
        _say(f"Error: {error}")
        return 2
    _say(
        f"Error: {type(error).__name__}: {error}. This is a fault of emoji_adapter: please report it with "
        f"what {DEBUG_VARIABLE}=1 shows."
    )
    return 1


def _explain_usage(error: Any) -> int:
    message = error.format_message().strip().removesuffix(".")
    if not message:  # "no arguments: show the help"
        return error.exit_code
    context = getattr(error, "ctx", None)
    advice = f" See `{context.command_path} --help`." if context else ""
    _say(f"Error: {message}.{advice}")
    return error.exit_code


def _say(message: str) -> None:
    print(" ".join(message.split()), file=sys.stderr)


def _debugging() -> bool:
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def _quiet() -> None:
    """Keep the libraries' warnings and chatter off the user's screen."""
    warnings.filterwarnings("ignore")
    for library in ("TRANSFORMERS", "DIFFUSERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
