"""The ``semfed`` command: one module per role, and the one place where errors become exit codes.

A sub-command is a module of this package that exposes ``app``, a `typer.Typer`. It is imported only when it is
called, so that ``semfed audit verify`` never waits for a part that it does not need. Commands raise
`semfed_secure.errors.SemfedError`; `main` turns that into one line on stderr, the exit code of the catalogue and,
with ``--json``, one error object on stdout.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semfed_secure import __version__
from semfed_secure.errors import ExitCode, SemfedError

if TYPE_CHECKING:
    from types import TracebackType

# The order of `semfed --help`: the order in which a newcomer meets them.
SUB_COMMANDS: dict[str, str] = {
    "demo": "run a whole federation on this machine and report on it",
    "doctor": "say what of this installation works",
    "federation": "found a federation and enrol its members",
    "keys": "create and show a member's keys",
    "server": "run the consensus server",
    "round": "open, watch and close rounds",
    "client": "take part in rounds as a site",
    "prompts": "review public prompt sets before answering them",
    "policy": "check, test and explain policies",
    "budget": "what a site has spent, how far it reaches, what plans cost",
    "privacy-card": "say what a site's releases reveal about one person",
    "audit-privacy": "attack a site's own private training, and report what that shows",
    "audit": "verify, read and report audit logs",
}

TRACEBACK_VARIABLE = "SEMFED_TRACEBACK"
"""Set to ``1`` to see the traceback of an internal error; it may show values, so it is off by default."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one ``semfed`` command and return its exit status.

    A coded error never shows a traceback: it becomes its sentence on stderr and its exit code. Any other
    exception is a defect of ours: exit code 70, its type and place on stderr, never its text, which might
    quote private data.

    Args:
        argv: The arguments after ``semfed``; those of this process if omitted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    try:
        return _dispatch(arguments)
    except SystemExit as stop:
        return _status(stop.code)
    except SemfedError as error:
        return _report(error, as_json=as_json)
    except KeyboardInterrupt:
        sys.stderr.write("semfed: interrupted\n")
        return ExitCode.INTERRUPTED
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE) == "1":
            raise
        return _report_defect(error, as_json=as_json)


def usage() -> str:
    """The text of ``semfed --help``."""
    width = max(map(len, SUB_COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {text}" for name, text in SUB_COMMANDS.items())
    return (
        "Usage: semfed COMMAND [ARGUMENTS]\n\n"
        "Institutions improve their own language models together by exchanging protected answers\n"
        f"to public questions, never weights and never records.\n\n{rows}\n\n"
        "`semfed COMMAND --help` explains each; `semfed --version` prints the version.\n"
    )


def _dispatch(arguments: list[str]) -> int:
    """Import the module that ``arguments`` name and run it."""
    name = arguments[0] if arguments else "--help"
    if name in {"-h", "--help"}:
        sys.stdout.write(usage())
        return ExitCode.OK if arguments else ExitCode.USAGE
    if name == "--version":
        sys.stdout.write(f"semfed {__version__}\n")
        return ExitCode.OK
    if name not in SUB_COMMANDS:
        sys.stderr.write(f"semfed: no command `{name}`: see `semfed --help`\n")
        return ExitCode.USAGE
    from typer.main import get_command

    return _status(get_command(app_of(name))(args=arguments[1:], prog_name=f"semfed {name}"))


def app_of(name: str) -> Any:
    """The typer application behind one of `SUB_COMMANDS`."""
    return importlib.import_module(f"semfed_secure.cli.{name.replace('-', '_')}").app


def _status(code: object) -> int:
    """The exit status behind what a command returned or left with."""
    return code if isinstance(code, int) else ExitCode.OK if code is None else ExitCode.USAGE


def error_object(error: SemfedError) -> dict[str, object]:
    """The JSON form of a coded error, as ``--json`` prints it."""
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "remedy": error.remedy,
            "retryable": error.retryable,
            "fields": error.fields,
        }
    }


def _report(error: SemfedError, *, as_json: bool) -> int:
    """Say ``error`` in one line, and once more as JSON if asked."""
    if as_json:
        sys.stdout.write(json.dumps(error_object(error), default=str) + "\n")
    sentence = " ".join(str(error).split())
    sys.stderr.write(f"semfed: {sentence}: {error.remedy}\n")
    return error.exit_code


def _report_defect(error: Exception, *, as_json: bool) -> int:
    """Say where a defect showed itself, without its text."""
    kind, place = type(error).__name__, _place(error.__traceback__)
    if as_json:
        fields = {"type": kind, "place": place}
        document = {"code": "internal", "message": "internal error", "retryable": False, "fields": fields}
        sys.stdout.write(json.dumps({"error": document | {"remedy": _DEFECT_REMEDY}}) + "\n")
    sys.stderr.write(f"semfed: internal error {kind} at {place}: {_DEFECT_REMEDY}\n")
    return ExitCode.INTERNAL


_DEFECT_REMEDY = f"set {TRACEBACK_VARIABLE}=1 to see the traceback, and report it"


def _place(trace: TracebackType | None) -> str:
    """``file.py:line`` of the innermost frame."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "unknown" if trace is None else f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


def run() -> None:
    """Entry point of the installed ``semfed`` script."""
    sys.exit(main())
