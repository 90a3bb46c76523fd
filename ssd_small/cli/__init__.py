"""The command line: one file per subcommand, loaded when it is called."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from keyword import iskeyword
from typing import Any

import click

from .._version import __version__
from ..errors import (
    BadFile,
    MissingRequirement,
    Note,
    SsdSmallError,
    UsageError,
    reason_from_exception,
)
from ..pictures.remarks import mute_picture_libraries
from ..terminal import one_line
from .signals import end_at_once, heard_signals, interrupts_first, last_line, number_from_interrupt
from .streams import open_standard_streams, shown_streams

#: subcommand -> its line in --help; listed here so that --help imports no subcommand
_COMMANDS = {
    "models": "List the networks with their figures.",
    "import": "Import a detector from torchvision and other projects.",
    "export": "Write a network as self-describing ONNX.",
    "adopt": "Turn any SSD's ONNX file into one of this package.",
    "build-engine": "Build an engine from ONNX.",
    "train": "Train a network on COCO-format data.",
    "bench": "Measure inference time per network.",
    "eval": "Score detections with the COCO metric.",
    "parity": "Show that an engine finds what its network finds.",
    "report": "Combine several runs into one page for choosing an engine.",
    "detect": "Detect objects in pictures.",
    "triton": "Write a model repository for Triton Inference Server.",
    "triton-client": "Detect objects in pictures with a Triton server.",
    "serve": "Answer pictures over HTTP.",
    "batch": "Detect objects in any number of pictures, into files.",
    "explain": "Say why an object was found or missed.",
    "check-data": "Find everything in a data set that train and eval would stumble on.",
    "convert": "Convert Pascal VOC, YOLO or CSV annotations to COCO format.",
    "convert-voc": "Convert Pascal VOC annotations to COCO format.",
    "tile": "Cut a data set of large pictures into tiles for training.",
    "digits": "Write the demo's data set.",
    "inspect": "Show what a checkpoint, ONNX file or engine records.",
    "doctor": "Say what is installed and whether an engine can run here.",
    "demo": "Run the whole flow on a small generated data set.",
}

#: lines of a longer explanation that are shown; the Python exception holds them all
_MAX_DETAILS = 10

#: exit code of what nobody has foreseen (EX_SOFTWARE of sysexits.h): no check and no file said no
_OWN_FAULT = 70
#: shows where an unforeseen exception comes from
_TRACEBACK = "SSD_SMALL_TRACEBACK"
#: how torch, OpenCV and C++ name a lack of memory that does not reach Python as MemoryError
_NO_MEMORY = ("can't allocate memory", "out of memory", "insufficient memory", "bad_alloc")


class _NoCommand(Exception):
    """Nothing was asked for; holds the help. click 8.1 would call that success."""


@contextmanager
def _notes_as_lines() -> Iterator[None]:
    """Show a :class:`Note` as one line, once; Python would show where in the code it arose."""
    said: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", Note)
        show = warnings.showwarning

        def show_note(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, Note):
                show(message, category, *place, **more)
            elif str(message) not in said:
                said.add(str(message))
                click.echo(one_line(f"note: {message}"), err=True)

        warnings.showwarning = show_note
        yield


def file_of(name: str) -> str:
    """The module of a subcommand; the name of a word of the language takes a line at its end."""
    return f"{name}_" if iskeyword(name) else name.replace("-", "_")


class _LazyGroup(click.Group):
    """Imports ``cli/<name>.py`` only when ``<name>`` is called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            raise _NoCommand(ctx.get_help())
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; click would end a broken pipe with exit 1 and no word."""
        _check_working_folder()
        try:
            with _notes_as_lines(), interrupts_first():
                return super().invoke(ctx)
        except BrokenPipeError as error:  # not our own output, see streams.py
            raise SsdSmallError(
                f"{error}: a process that this command had started is gone; run it again"
            ) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = import_module(f".{file_of(name)}", __name__)
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    # color: click would drop escape sequences from names where nobody looks; see streams.py
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "color": True,
    },
    epilog="Exit codes: 0 fine, 1 a check failed, 2 usage, 3 a package or hardware is missing, "
    "4 a bad file, 70 a fault of ssd-small itself.",
)
@click.version_option(__version__, prog_name="ssd-small")
def cli() -> None:
    """Deploy small-object SSD detectors: PyTorch to ONNX to engine, measured and proven."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    open_standard_streams()
    mute_picture_libraries()
    if arguments is None:
        _keep_torch_from_making_a_folder()
    with shown_streams(), heard_signals(own_process=arguments is None):
        try:
            _call(arguments)
        except (click.Abort, KeyboardInterrupt) as interrupt:
            number = number_from_interrupt(interrupt)
            click.echo(last_line(number), err=True)
            if arguments is None:
                end_at_once(128 + number)
            # CPython remembers an interrupt that left some exec("...") on its way here (modules
            # run such while they load), and `python -m` would then end by the signal whatever the
            # exit code says; the next exec forgets it
            exec("")
            sys.exit(128 + number)


def _keep_torch_from_making_a_folder() -> None:
    """Name one that is there for the cache of torch's compiler, which nothing here uses.

    Else each process that trains or exports would leave an empty one in the temporary folder.
    """
    with suppress(OSError):  # no temporary folder; torch says so where it needs one
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", tempfile.gettempdir())


def _call(arguments: list[str] | None) -> None:
    """Run the command line; the one place that turns exceptions into lines and exit codes."""
    try:
        cli.main(args=arguments, prog_name="ssd-small", standalone_mode=False)
    except SsdSmallError as error:
        _print_error(error.message, error.details)
        # a full disk may hold back a part of it, which would be tried, and fail, once more
        try:
            sys.stdout.flush()
        except OSError:
            _forget_output()
        sys.exit(error.exit_code)
    except _NoCommand as error:
        click.echo(error, err=True)
        sys.exit(UsageError.exit_code)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "ssd-small"
        _print_error(f"{error.format_message().rstrip('.')}; see '{command} --help'")
        sys.exit(error.exit_code)
    except OSError as error:
        # what no reader or writer of files has named: standard output on a full disk, above all
        advice = "check its permissions" if error.filename else "free space or write elsewhere"
        if error.errno == errno.ENAMETOOLONG:
            advice = "expected the name of a file that is there; check it"
        _print_error(f"{error}; {advice}")
        _forget_output()
        sys.exit(BadFile.exit_code)
    except click.Abort:  # told to end: main() says so
        raise
    except Exception as error:
        if os.environ.get(_TRACEBACK, "0") != "0":
            traceback.print_exc()
        message, code = _unforeseen(error)
        _print_error(message)
        sys.exit(code)


def _unforeseen(error: Exception) -> tuple[str, int]:
    """Message and exit code of what no reader, writer or check has named."""
    reason = reason_from_exception(error)
    said = reason.lower()
    if isinstance(error, MemoryError) or any(words in said for words in _NO_MEMORY):
        advice = "free some, or ask for less at once (--batch, --workers, smaller pictures)"
        return f"memory ran out ({reason}); {advice}", MissingRequirement.exit_code
    if isinstance(error, RecursionError):
        return "a file is nested too deep; expected one that a tool wrote", BadFile.exit_code
    return (
        f"{type(error).__name__}: {reason}; this is a fault of ssd-small and not yours: please "
        f"report it with what {_TRACEBACK}=1 in the environment shows",
        _OWN_FAULT,
    )


def _check_working_folder() -> None:
    """Refuse a folder that is gone: libraries fail in it while they load, with words of their own.

    Raises:
        BadFile: it was deleted.
    """
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise BadFile("the working folder was deleted; go to one that is there (cd)") from error


def _print_error(message: str, details: Sequence[str] = ()) -> None:
    """The error line; of a list that follows it, the beginning."""
    click.echo(f"ssd-small: error: {one_line(message)}", err=True)
    for detail in details[:_MAX_DETAILS]:
        click.echo(one_line(detail), err=True)
    if len(details) > _MAX_DETAILS:
        click.echo(f"  ... and {len(details) - _MAX_DETAILS} more", err=True)


def _forget_output() -> None:
    """Let the interpreter's last flush of standard output succeed, wherever it led."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
