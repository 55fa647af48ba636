"""`semfed` maps every error to its exit code and never shows a traceback for a coded one."""

from __future__ import annotations

import json
import subprocess
import sys
from types import ModuleType

import pytest
import typer

from semfed_secure import cli
from semfed_secure.errors import CATALOGUE, BudgetExhausted, ExitCode


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch):
    """Let ``semfed doctor`` be a command whose body the test gives."""

    def put(body) -> None:
        module = ModuleType("semfed_secure.cli.doctor")
        module.app = typer.Typer()

        @module.app.command()
        def doctor(json_: bool = typer.Option(False, "--json")) -> None:
            body()

        monkeypatch.setitem(sys.modules, "semfed_secure.cli.doctor", module)

    return put


def refuse() -> None:
    """Raise a coded error with fields."""
    raise BudgetExhausted("SF202", "release would bring epsilon to 8.4,\nbudget is 8.0", remaining="0.6", cost="1.0")


def test_a_coded_error_is_one_line_on_stderr_and_its_exit_code(install, capsys) -> None:
    """No traceback, no second line, exit 11 for a budget."""
    install(refuse)
    assert cli.main(["doctor"]) == ExitCode.BUDGET
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("semfed: [SF202] release would bring epsilon to 8.4, budget is 8.0: ")
    assert err.count("\n") == 1


def test_json_prints_the_error_as_one_object_on_stdout(install, capsys) -> None:
    """Code, message, remedy, retryable and fields; the same exit code."""
    install(refuse)
    assert cli.main(["doctor", "--json"]) == ExitCode.BUDGET
    error = json.loads(capsys.readouterr().out)["error"]
    assert set(error) == {"code", "message", "remedy", "retryable", "fields"}
    assert error["code"] == "SF202"
    assert error["remedy"] == CATALOGUE["SF202"].remedy
    assert error["fields"] == {"remaining": "0.6", "cost": "1.0"}


def test_a_defect_shows_its_type_and_place_but_not_its_text(install, capsys) -> None:
    """An unforeseen exception may quote private data, so its text stays inside."""

    def break_down() -> None:
        raise KeyError("patient Jane Roe")

    install(break_down)
    assert cli.main(["doctor", "--json"]) == ExitCode.INTERNAL
    out, err = capsys.readouterr()
    assert "Jane" not in out + err
    assert "KeyError at test_main.py:" in err
    assert json.loads(out)["error"]["fields"]["type"] == "KeyError"


def test_the_traceback_of_a_defect_can_be_asked_for(install, monkeypatch) -> None:
    """With the variable set the exception itself leaves `main`."""
    monkeypatch.setenv(cli.TRACEBACK_VARIABLE, "1")
    install(lambda: {}["missing"])
    with pytest.raises(KeyError):
        cli.main(["doctor"])


def test_unknown_commands_and_options_are_usage_errors(install, capsys) -> None:
    """Exit 2, with a pointer to the help."""
    install(refuse)
    assert cli.main(["frobnicate"]) == ExitCode.USAGE
    assert cli.main(["doctor", "--frobnicate"]) == ExitCode.USAGE
    assert "--help" in capsys.readouterr().err


def test_an_exit_status_of_a_command_is_kept(install) -> None:
    """A command may leave with a status of its own."""

    def leave() -> None:
        raise typer.Exit(15)

    install(leave)
    assert cli.main(["doctor"]) == 15


def test_help_names_every_command(capsys) -> None:
    """The table of sub-commands is what the help shows."""
    assert cli.main(["--help"]) == ExitCode.OK
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in cli.SUB_COMMANDS)


def test_help_imports_neither_typer_nor_any_room() -> None:
    """`semfed --help` answers at once."""
    code = (
        "import sys; from semfed_secure.cli import main; main(['--help']);"
        "bad = [m for m in sys.modules if m.split('.')[0] in {'typer', 'torch', 'numpy', 'sqlalchemy'}];"
        "sys.exit(len(bad))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0
