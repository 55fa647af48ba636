"""The compliance map cites only what exists, and its checker notices when it does not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

CHECKER = Path(__file__).parents[2] / "compliance" / "check.py"


@pytest.fixture(scope="module")
def check():
    """The checker, loaded from its file."""
    spec = importlib.util.spec_from_file_location("compliance_check", CHECKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_row_cites_symbols_and_tests_that_exist(check, capsys) -> None:
    """What an auditor follows leads somewhere."""
    assert (check.main(), capsys.readouterr().out) == (0, "")


@pytest.mark.parametrize(
    ("symbol", "problem"),
    [
        ("semfed_secure.errors:SemfedError.remedy", None),
        ("semfed_secure.cli", None),
        ("semfed_secure.errors:Forgotten", "`semfed_secure.errors` defines no `Forgotten`"),
        ("semfed_secure.forgotten:main", "no module `semfed_secure.forgotten`"),
        ("os:environ", "no module `os`"),
    ],
)
def test_a_symbol_that_does_not_exist_is_named(check, symbol, problem) -> None:
    """Renaming a function breaks the row that cites it."""
    assert check.symbol_problem(symbol) == problem


@pytest.mark.parametrize(
    ("test", "problem"),
    [
        ("tests/compliance/test_check.py::test_a_test_that_does_not_exist_is_named", None),
        ("tests/compliance/test_check.py", None),
        ("tests/conftest.py", "`tests/conftest.py` has no tests"),
        ("tests/compliance/test_check.py::test_gone", "`tests/compliance/test_check.py` has no test `test_gone`"),
        ("tests/gone.py::test_x", "no file `tests/gone.py`"),
    ],
)
def test_a_test_that_does_not_exist_is_named(check, test, problem) -> None:
    """Deleting a test breaks the row that cites it."""
    assert check.test_problem(test) == problem


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("semfed audit list STATE --json", None),
        ("semfed doctor", None),
        ("semfed audit forget STATE", "no command `semfed audit forget STATE`"),
        ("semfed audit list STATE --all", "`semfed audit list STATE --all` has no option `--all`"),
        ("grep refused audit.db", "no command `grep refused audit.db`"),
    ],
)
def test_a_query_that_is_no_command_is_named(check, query, problem) -> None:
    """An auditor can type what a row says."""
    assert check.query_problem(query) == problem


def test_a_row_with_missing_or_empty_parts_is_named(check) -> None:
    """A control without tests, or without the customer's duty, is no control."""
    row = dict.fromkeys(check.CONTROL_KEYS, "x") | {"symbols": ["semfed_secure.cli"], "tests": []}
    row["audit_query"] = "semfed doctor"
    del row["customer_duty"]
    assert check.row_problems(row | {"extra": 1}, check.CONTROL_KEYS) == [
        "lacks `customer_duty`",
        "has an unknown `extra`",
        "says nothing for `tests`",
    ]
