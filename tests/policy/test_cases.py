"""The runner of policy cases is tested by files that must fail; the shipped packs by their own cases."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from semfed_secure.errors import ConfigurationError
from semfed_secure.policy.cases import SUFFIX, CaseReport, load_question, run_cases
from semfed_secure.policy.engine import CODES
from semfed_secure.policy.packs import packs_root

ASSETS = Path(__file__).parent / "assets" / "cases"
SHIPPED = sorted(path.with_name(path.name.removesuffix(SUFFIX) + ".yaml") for path in packs_root().rglob(f"*{SUFFIX}"))

FAILING = {
    "denial-that-a-mutant-keeps": ([], ["limits.data.min_entities"]),
    "one-reason-too-few": (["too few people"], []),
    "one-reason-too-many": (["too few people"], []),
    "untested-limit": ([], ["limits.data.min_entities"]),
    "wrong-outcome": (["enough people"], []),
    "wrong-reason": (["too few people"], []),
}
REFUSED = {
    "deny-without-reasons": "a permit has no reasons",
    "duplicate-key": "key `outcome` stands twice",
    "fact-of-wrong-type": "dataset.entities: Input should be a valid integer",
    "grants-beside-grants": "has grants of its own",
    "name-twice": "named once each",
    "no-cases": "cases",
    "permit-with-reasons": "a permit has no reasons",
    "reasons-missing": "cases.0.reasons: field required",
    "unknown-code": "no check has the code DATA-999",
    "unknown-fact": "dataset.entitys",
    "unknown-key": "cases.0.expected: no such field",
    "unknown-part": "there is no `fact`",
    "unknown-section": "datasets",
    "without-something-that-is-not-there": "without facts.peer: there is no such fact",
}


@cache
def shipped_report(path: Path) -> CaseReport:
    """The report of one shipped policy; several tests read it."""
    return run_cases(path)


def test_every_asset_is_in_a_table() -> None:
    """No case file lies on disk without being tested."""
    found = {path.name.removesuffix(SUFFIX) for path in ASSETS.glob(f"*{SUFFIX}")}
    assert found == {"good", *FAILING, *REFUSED}


def test_good_cases_pass() -> None:
    """Cases that assert the right outcomes and reasons, and notice each missing limit, pass."""
    report = run_cases(ASSETS / "good.yaml")
    assert (report.passed, report.untested_limits) == (True, ())
    assert [result.got for result in report.results] == [("permit",), ("deny", "DATA-005")]
    assert report.never_passed == ()
    assert "DATA-001" in report.never_failed


@pytest.mark.parametrize("name", sorted(FAILING))
def test_bad_expectations_fail(name: str) -> None:
    """A wrong outcome, one reason too many or too few, and a limit that no case notices: each fails the run."""
    failed, untested = FAILING[name]
    report = run_cases(ASSETS / f"{name}.yaml")
    assert not report.passed
    assert [result.name for result in report.results if not result.passed] == failed
    assert [limit for limit in report.untested_limits if limit in untested] == untested


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_bad_files_are_refused(name: str) -> None:
    """A case file that says something it cannot mean is refused with SF113, never run in part."""
    with pytest.raises(ConfigurationError) as refusal:
        run_cases(ASSETS / f"{name}.yaml")
    assert (refusal.value.code, REFUSED[name] in refusal.value.message) == ("SF113", True), refusal.value.message


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_policies_do_what_their_cases_say(path: Path) -> None:
    """Every shipped pack and example decides as its cases assert, and no limit of it is untested."""
    report = shipped_report(path)
    assert [result for result in report.results if not result.passed] == []
    assert report.untested_limits == ()


def test_every_shipped_policy_has_cases() -> None:
    """No pack or example is without its case file."""
    documents = {path for path in packs_root().rglob("*.yaml") if not path.name.endswith(SUFFIX)}
    assert documents == set(SHIPPED)


def test_the_shipped_cases_see_every_code_fail() -> None:
    """Together the shipped cases deny for every reason that there is."""
    failed = {code for path in SHIPPED for result in shipped_report(path).results for code in result.expected[1:]}
    # What a broken or hostile caller causes cannot be written in a case file; limits that no pack sets have their
    # own tests beside the engine.
    assert CODES - failed == {"ENG-001", "ENG-002", "DET-004", "DP-007", "PEER-006", "PEER-007"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("facts: {action: train}\nbudgets: {}\n", "budgets is neither facts nor budget"),
        ("facts: {action: fly}\n", "action"),
        ("facts: [1]\n", "facts"),
        ("facts: {action: train, release: {kind: votes, epsilon_total: 1.5}}\n", "1.5"),
    ],
)
def test_a_question_is_read_strictly(tmp_path: Path, text: str, problem: str) -> None:
    """A question on the command line is refused where it says something that no fact is."""
    file = tmp_path / "question.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=problem) as refusal:
        load_question(file)
    assert refusal.value.code == "SF113"


def test_the_list_of_codes_is_whole() -> None:
    """`policies/README.md` says of every code what it is about, and names no code that does not exist."""
    rows = [
        line.split("|")
        for line in (packs_root() / "README.md").read_text().splitlines()
        if re.match(r"\| [A-Z]+-", line)
    ]
    assert {row[1].strip() for row in rows} == CODES


@pytest.mark.parametrize("page", sorted(packs_root().glob("*/README.md")), ids=lambda page: page.parent.name)
def test_a_packs_page_names_codes_that_its_cases_assert(page: Path) -> None:
    """What a page says is denied, a case of its pack denies with that code."""
    (pack,) = [path for path in SHIPPED if path.parent == page.parent]
    asserted = {code for result in shipped_report(pack).results for code in result.expected[1:]}
    assert set(re.findall(r"\b[A-Z]+-\d{3}\b", page.read_text())) <= asserted
