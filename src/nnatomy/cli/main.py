"""`nnatomy`: its commands and the messages for bad input. The work of the commands is in runs/, studies/ and atlas/."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import typer

from nnatomy import __version__
from nnatomy.backends import kernels
from nnatomy.catalog import OWN
from nnatomy.cli.average import average
from nnatomy.cli.bench import bench
from nnatomy.cli.compare import compare
from nnatomy.cli.distill import distill
from nnatomy.cli.doctor import doctor
from nnatomy.cli.draw import draw
from nnatomy.cli.evaluate import evaluate
from nnatomy.cli.export import export
from nnatomy.cli.info import info
from nnatomy.cli.listing import list_
from nnatomy.cli.predict import predict
from nnatomy.cli.refusals import refusal
from nnatomy.cli.sample import sample
from nnatomy.cli.serve import serve
from nnatomy.cli.train import train
from nnatomy.cli.tune import tune
from nnatomy.cli.verify import verify
from nnatomy.errors import UserError
from nnatomy.files import check_name
from nnatomy.interrupts import SIGNALS, came, interruptible
from nnatomy.kernels import library
from nnatomy.printing import print_text, shown

COMMANDS = (
    list_, info, train, evaluate, predict, sample, distill, average, compare, tune, export, serve, verify, draw, bench, doctor,
)  # fmt: skip
TOO_LITTLE = UserError("The work must fit into memory. Received more than there is. "
                       "Lower --batch-size, --limit the data or choose a smaller model.")  # fmt: skip
LOADING = ("failed to map segment", "annot allocate memory", "load shared object")
"""Parts of the messages of libraries that find too little memory."""
LEAST = 768 << 20
"""Bytes of address space: with fewer, OpenBLAS or Numba fail while a network is trained."""
FRUGAL = {"list", "info", "doctor", "--help", "-h", "--version"}
"""Commands that need less."""
app = typer.Typer(
    name="nnatomy",
    help="The anatomy of neural networks: from scratch, proven equal to PyTorch and Keras, trained by one command.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nnatomy {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    pass


_returned: list[Any] = []
"""What the command returned; empty where it was interrupted, of which Typer says nothing."""


def _noted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that notes its return."""

    @wraps(function)
    def command(*args: Any, **kwargs: Any) -> Any:
        _returned.append(function(*args, **kwargs))
        return _returned[-1]

    return command


for function in COMMANDS:
    app.command(name=function.__name__.rstrip("_"))(_noted(function))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code: 0, 2 for bad input (one sentence), 130 after Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    words = words or ["--help"]
    debug = "--debug" in words
    words = ["--debug", *(w for w in words if w != "--debug")] if debug else words
    library.announce = None if "--json" in words else _announce
    try:
        for word in words:
            check_name(word)
        kernels()  # a wrong NNATOMY_KERNELS is reported before anything else
        _check_memory(words)
        if "MPLBACKEND" in os.environ:
            from nnatomy.runs.drawing import check_matplotlib

            check_matplotlib()
        _returned.clear()
        try:
            found = app(args=words, prog_name="nnatomy", standalone_mode=False)
        except Exception as problem:
            if came():  # a module that is interrupted while it starts answers with an ImportError
                raise KeyboardInterrupt from problem
            raise
        if found == 130 and not _returned:
            raise KeyboardInterrupt
        print(end="", flush=True)
        return found if isinstance(found, int) else 0
    except UserError as problem:
        return _refuse(problem, debug, str(problem))
    except (typer.Abort, KeyboardInterrupt):
        print_text("nnatomy: interrupted.", file=sys.stderr)
        return 130
    except typer.Exit as leave:
        return leave.exit_code
    except (BrokenPipeError, SystemExit):  # the reader has left, as head does; Rich reports it by SystemExit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # buffered output is discarded
        return 0
    except MemoryError as problem:
        return _refuse(problem, debug, str(TOO_LITTLE))
    except OSError as problem:
        if _lacks_memory(problem):
            return _refuse(problem, debug, str(TOO_LITTLE))
        where = f" for {shown(str(problem.filename))}" if problem.filename else ""
        known = {errno.EACCES: "Change its permissions", errno.ENAMETOOLONG: "Use a shorter name"}
        what = known.get(problem.errno or 0, "Free space")
        said = f"{problem.strerror or problem}{where}"
        sentence = f"Files must be readable and writable. Received {said}. {what} or choose another place."
        return _refuse(problem, debug, str(UserError(sentence)))
    except Exception as problem:
        if _lacks_memory(problem):
            return _refuse(problem, debug, str(TOO_LITTLE))
        if hasattr(
            problem, "format_message"
        ):  # a command line that cannot be read: an error of Typer's own copy of Click, or of Click
            return _refuse(problem, debug, str(refusal(problem, words)))
        if debug:
            raise
        if place := _own_place(problem):
            sentence = f"{place} must run. Received {type(problem).__name__}: {problem}. Correct it, or see --debug."
            return _refuse(problem, debug, str(UserError(sentence)))
        print_text(f"nnatomy: an error of ours, not of yours: {type(problem).__name__}: {problem}; "
                   "run again with --debug and report what it shows.", file=sys.stderr)  # fmt: skip
        return 1
    finally:
        library.announce = None


def _own_place(problem: BaseException) -> str | None:
    """Return file and line of a user's own architecture that an error came through last; None where it did not."""
    place, at = None, problem.__traceback__
    while at is not None:
        if str(at.tb_frame.f_globals.get("__name__")).startswith(OWN):
            place = f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}"
        at = at.tb_next
    return place


def _check_memory(words: Sequence[str]) -> None:
    """Raise UserError where a limit leaves too little memory for the libraries: some of them end the process or spin."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit not in (resource.RLIM_INFINITY, -1) and limit < LEAST and not set(words[:2]) & FRUGAL:
        raise UserError(
            f"{words[0]} needs {LEAST >> 20} MiB of address space for its libraries. Received a limit of {limit >> 20} MiB. "
            "Raise it with ulimit -v."
        )


def _lacks_memory(problem: BaseException) -> bool:
    """Return True for a library that could not be loaded because memory is limited."""
    return isinstance(problem, ImportError | OSError) and any(sign in str(problem) for sign in LOADING)


def _announce(sentence: str) -> None:
    print(f"nnatomy: {sentence}", file=sys.stderr)


def _refuse(problem: BaseException, debug: bool, sentence: str) -> int:
    if debug:
        raise problem
    print(f"nnatomy: {sentence}", file=sys.stderr)
    return 2


def entry() -> None:
    """Run the installed `nnatomy` command; replace characters that the terminal cannot show."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with interruptible():
            code = main()
    except KeyboardInterrupt:  # a second signal, while main() answers the first
        code = 130
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the work is done: a late signal does not turn its result into a failure
    exec("")  # Python ends itself by SIGINT where the last text that it executed was interrupted, as in a data class's making
    sys.exit(code)
