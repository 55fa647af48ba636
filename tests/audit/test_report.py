"""The page for a compliance officer: it verifies first, states what the log states, and nothing can break out of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from semfed_secure.audit.catalogue import EventType
from semfed_secure.audit.events import Event, PrivacyFields
from semfed_secure.audit.gather import gather
from semfed_secure.audit.report import render, render_report
from semfed_secure.audit.report_style import STYLE
from semfed_secure.errors import ConfigurationError
from semfed_secure.storage import log_guard
from tests.audit.pages import Reader
from tests.audit.samples import DIGEST, Site

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=\"alert('2')\"> & 'quoted' `tick`"


def event(kind: EventType, outcome: str = "success", **fields: object) -> Event:
    """Something that this site did."""
    return Event(type=kind, outcome=outcome, actor="north", **fields)


def privacy(epsilon: str, **more: str) -> PrivacyFields:
    """Privacy fields of the population of these tests."""
    return PrivacyFields(
        population="patients-2026",
        epsilon=epsilon,
        delta="0.000001",
        unit="entity",
        relation="add_or_remove_one",
        mechanism="dp_sgd",
        **more,
    )


def write_site(site: Site, *, peer: str = "coordinator", reason: str = "text is not granted") -> None:
    """A site's two days: policy, budget, two releases of which one is refused, a denied text."""
    policy = {"policy_id": "north/patients", "policy_digest": DIGEST}
    for number, (epsilon, answer) in enumerate([("1.50001", "success"), ("3.0", "denied")]):
        bundle = f"sha256:{number:064x}"
        site.log.append_all(
            [
                Event(
                    type=EventType.POLICY_LOADED,
                    outcome="success",
                    actor="north",
                    details={"version": str(number)},
                    **policy,
                ),
                Event(
                    type=EventType.BUDGET_RESERVED,
                    outcome="success",
                    actor="north",
                    privacy=privacy(epsilon, cost="1.5", remaining="5.00009"),
                    details={"purpose": f"training {number}", "period": "lifetime", "limit": "8.0"},
                ),
                Event(
                    type=EventType.BUNDLE_RELEASED,
                    outcome="success",
                    actor="north",
                    round_id=f"round-{number}",
                    peer=peer,
                    bundle_digest=bundle,
                    privacy=privacy(epsilon),
                    details={"kind": "votes", "items": 300, "abstained": 7, "bytes": 1834},
                    **policy,
                ),
                Event(type=EventType.BUNDLE_SENT, outcome="success", actor="north", peer=peer, bundle_digest=bundle),
            ]
        )
        site.clock.advance(86_400)
        site.log.append(
            Event(
                type=EventType.RECEIPT_RECEIVED,
                outcome=answer,
                actor="north",
                peer=peer,
                peer_entry=17,
                bundle_digest=bundle,
                codes=("SF314",) if answer == "denied" else (),
            )
        )
    site.log.append_all(
        [
            Event(
                type=EventType.DECISION,
                outcome="denied",
                actor="north",
                codes=("KIND-001", "SF201"),
                details={"action": "release", "decision": "deny", "reasons": [reason, "a second reason"]},
            ),
            Event(
                type=EventType.BUDGET_REFUSED,
                outcome="denied",
                actor="north",
                codes=("SF202",),
                privacy=privacy("3.0", cost="9.1", remaining="5.00009"),
                reason="release would bring epsilon to 12.1, budget is 8.0",
            ),
            Event(
                type=EventType.KEY_LOADED,
                outcome="success",
                actor="north",
                details={"key_id": DIGEST, "purpose": "log"},
            ),
        ]
    )


def page_of(site: Site, **options: object) -> tuple[str, Reader]:
    """The report and what a browser reads in it."""
    page = render_report(site.path, key=site.vkey, **options)
    return page, Reader(page)


def test_a_report_says_who_released_what_to_whom_under_which_policy_on_what_budget(site: Site) -> None:
    """Each of these facts of the log stands in the section of releases, with the receiver's answer."""
    write_site(site)
    _, reader = page_of(site)
    releases = reader.text["releases"]
    for fact in (
        "round-0",
        "coordinator",
        "300 outputs (votes), 7 of them abstentions",
        "north/patients",
        "patients-2026",
    ):
        assert fact in releases
    assert "ε 1.5001 in all at δ 0.000001, per entity" in releases
    assert "admitted, their entry 17" in releases
    assert "not admitted, their entry 17 SF314 outputs have the wrong shape or values" in releases


def test_a_report_says_who_approved_a_release(site: Site) -> None:
    """Beside the policy that wanted it, from the decision in the same round; what was only asked does not count."""
    for dry_run, name in ((False, "Sam Rivera"), (True, "Kim Lee")):
        approvals = [f"{name} as privacy_officer"]
        details = {"action": "release", "decision": "permit", "approvals": approvals, "dry_run": dry_run}
        site.log.append(event(EventType.DECISION, round_id="round-0", details=details))
    write_site(site)
    _, reader = page_of(site)
    assert reader.text["releases"].count("approved by Sam Rivera as privacy_officer") == 1
    assert "Kim Lee" not in reader.text["releases"]
    assert (
        "was permitted by policy to release outputs in round-0, approved by Sam Rivera as privacy_officer"
        in (reader.text["timeline"])
    )


def test_a_report_says_first_that_an_intact_log_is_intact(site: Site) -> None:
    """The verdict is the first section, with root, key and size."""
    write_site(site)
    _, reader = page_of(site)
    assert "This log is intact." in reader.text["integrity"]
    assert "All 13 entries were read and recomputed" in reader.text["integrity"]
    assert "It was given to the verifier from outside the log." in reader.text["integrity"]
    assert reader.names("section")[0]["id"] == "integrity"
    assert "hospitals.example/north" in reader.text["head"]


def test_a_report_without_a_key_says_what_that_is_worth(site: Site) -> None:
    """A log that vouches for itself is told as such."""
    site.fill(1)
    assert "compare its digest with the member record" in Reader(render_report(site.path)).text["integrity"]


def test_a_report_of_a_damaged_log_says_so_in_words(site: Site) -> None:
    """What was done, and the code, stand above everything; the readable entries are shown without a promise."""
    write_site(site)
    with site.database.transaction() as tx:
        log_guard.lift(tx.connection)
        tx.connection.execute(text("UPDATE log_entry SET body = x'7b7d' WHERE position = 2"))
    _, reader = page_of(site)
    integrity = reader.text["integrity"]
    assert "This log is not intact." in integrity
    assert "Entry 2 was changed: its content does not match the fingerprint stored with it." in integrity
    assert "Code SF501" in integrity
    assert "The log says that it is hospitals.example/north. 12 of its entries can be read; 1 could not." in integrity
    assert "round-1" in reader.text["releases"]
    assert "intact." not in integrity.replace("This log is not intact.", "")


def test_a_report_of_a_log_without_a_head_is_still_a_report(site: Site) -> None:
    """Whatever is left of a log, the officer gets a page that says it is not intact."""
    with site.database.transaction() as tx:
        tx.connection.execute(text("DELETE FROM log_head"))
    _, reader = page_of(site)
    assert "This log is not intact." in reader.text["integrity"]
    assert "SF504" in reader.text["integrity"]


def test_the_budget_is_shown_as_picture_and_table(site: Site) -> None:
    """Spent figures are rounded up, remaining ones down; the picture has a title and the table the same figures."""
    write_site(site)
    _, reader = page_of(site)
    budget = reader.text["budget"]
    assert "patients-2026 (per entity, neighbours: add or remove one)" in budget
    assert "ε 0 had been spent when the period began. The lifetime budget is ε 8." in budget
    assert "1.5001" in budget
    assert "5.0001" not in budget
    assert "budget 8.0" in budget
    assert len(reader.names("circle")) == 2
    assert reader.names("svg")[0]["role"] == "img"
    assert "refused" in budget


def test_refusals_have_codes_and_reasons(site: Site) -> None:
    """Denied and failed events are listed with what the code means and every reason."""
    write_site(site)
    refusals = page_of(site)[1].text["refusals"]
    for fact in (
        "text is not granted",
        "a second reason",
        "KIND-001 a rule of the policy",
        "SF202 privacy budget does not cover this",
        "release would bring epsilon to 12.1, budget is 8.0",
    ):
        assert fact in refusals


def test_a_period_holds_its_own_entries_and_what_was_in_force(site: Site) -> None:
    """The second day shows its release, the policy that held when it began, and the total until then."""
    write_site(site)
    page, reader = page_of(site, since=datetime(2026, 3, 2, 9, tzinfo=UTC), until=datetime(2026, 3, 3, tzinfo=UTC))
    assert "from 2026-03-02 09:00:00 until 2026-03-03 00:00:00" in page
    assert "Nothing was released in this period." in reader.text["releases"]
    assert "ε 3 had been spent when the period began." in reader.text["budget"]
    assert "Nothing was charged in this period." in reader.text["budget"]
    assert "in force from here" in reader.text["policies"]
    _, first = page_of(site, until=datetime(2026, 3, 1, 9, tzinfo=UTC))
    assert "round-1" not in first.text["releases"]
    assert "admitted, their entry 17" in first.text["releases"]  # the answer came after the period


def test_an_empty_log_has_a_report(site: Site) -> None:
    """Every section says that there is nothing."""
    _, reader = page_of(site)
    assert "the log is empty" in reader.text["integrity"]
    assert "Nothing was released in this period." in reader.text["releases"]
    assert "No privacy budget was charged." in reader.text["budget"]
    assert "Nothing was denied" in reader.text["refusals"]
    assert "names no policy" in reader.text["policies"]
    assert "No key was created" in reader.text["trust"]


def test_a_servers_report_shows_rounds_and_contributions(site: Site) -> None:
    """Who sent what and was admitted, and how each round ended."""
    details = {"kind": "votes", "items": 300}
    site.log.append_all(
        [
            Event(
                type=EventType.ROUND_OPENED,
                outcome="success",
                actor="north",
                round_id="round-1",
                details={"prompts": 300, "kind": "votes"},
            ),
            Event(
                type=EventType.ROUND_OPENED,
                outcome="success",
                actor="north",
                round_id="round-2",
                details={"prompts": 9, "kind": "text"},
            ),
            Event(
                type=EventType.BUNDLE_ADMITTED,
                outcome="success",
                actor="north",
                round_id="round-1",
                peer="north",
                details=details,
            ),
            Event(
                type=EventType.BUNDLE_REJECTED,
                outcome="denied",
                actor="north",
                round_id="round-1",
                peer="south",
                codes=("SF313",),
                details=details,
            ),
            Event(
                type=EventType.ROUND_CLOSED,
                outcome="success",
                actor="north",
                round_id="round-1",
                details={"admitted": 1},
            ),
            Event(
                type=EventType.CONSENSUS_PUBLISHED,
                outcome="success",
                actor="north",
                round_id="round-1",
                details={"agreed": 260, "contested": 22, "too_few": 18},
            ),
            Event(
                type=EventType.ROUND_ABORTED, outcome="failed", actor="north", round_id="round-2", reason="too few came"
            ),
        ]
    )
    _, reader = page_of(site)
    assert "releases" not in reader.text
    assert "budget" not in reader.text
    assert "south300 outputs (votes)rejectedSF313 payload differs from its commitment" in reader.text["received"]
    assert "300 prompts, votes" in reader.text["rounds"]
    assert "260 prompts agreed, 22 contested, 18 with too few answers in round-1" in reader.text["rounds"]
    assert "north gave up a round in round-2: too few came" in reader.text["rounds"]


def test_a_long_timeline_is_cut_and_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page stays one that a browser opens; it names what it left out."""
    monkeypatch.setattr("semfed_secure.audit.gather.ROWS", 3)
    site.fill(8)
    timeline = page_of(site)[1].text["timeline"]
    assert "Every entry of the period in order: the last 3 of 8." in timeline


def test_a_long_log_is_shortened_in_every_table_and_counted_in_full(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Releases, charges and refusals too; memory holds no more than is shown, the figures are those of all."""
    monkeypatch.setattr("semfed_secure.audit.gather.ROWS", 4)
    site.fill(30)
    gathered = gather(site.path, since=None, until=None, key=site.vkey)
    assert len(gathered.releases) == len(gathered.refusals) == 4
    assert (gathered.timeline.total, gathered.releases.total) == (30, 10)
    gathered.shorten(2)
    reader = Reader(render(gathered))
    assert "Every bundle of outputs that left the site: the last 2 of 10." in reader.text["releases"]
    assert "the last 2 of 10." in reader.text["refusals"]
    assert "10releases" in reader.text["summary"].replace("releases10", "10releases")


def test_hostile_text_stays_text(site: Site) -> None:
    """Tags, quotes and entities in names and reasons are shown, never obeyed."""
    write_site(site, peer=HOSTILE, reason=HOSTILE)
    page, reader = page_of(site)
    assert HOSTILE in reader.text["releases"]
    assert HOSTILE in reader.text["refusals"]
    assert {"script", "img"}.isdisjoint(tag for tag, _ in reader.tags)
    assert "<script" not in page
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on")]


def test_a_page_is_self_contained(site: Site) -> None:
    """No script, no outside file, no inline style; the page's own policy forbids them, and allows its one sheet."""
    write_site(site)
    page, reader = page_of(site)
    assert {tag for tag, _ in reader.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "form", "base"})
    hrefs = [attributes["href"] for _, attributes in reader.tags if "href" in attributes]
    assert hrefs
    assert all(href is not None and href.startswith("#") for href in hrefs)
    assert not [1 for _, attributes in reader.tags if {"src", "style"} & attributes.keys()]
    assert not re.search(r"url\(|@import|https?:", page)
    policy = next(a["content"] for a in reader.names("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert page.count("<style>") == 1
    assert f"<style>{STYLE}</style>" in page


def test_a_page_can_be_walked_without_eyes_or_mouse(site: Site) -> None:
    """Language, landmarks, one main heading, named sections, captions and scopes are all there, and links lead on."""
    write_site(site)
    _, reader = page_of(site)
    assert reader.names("html") == [{"lang": "en"}]
    assert [len(reader.names(tag)) for tag in ("header", "nav", "main", "footer", "h1", "title")][:5] == [1, 1, 1, 1, 1]
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in reader.names("section"):
        assert attributes["aria-labelledby"] in ids
    for attributes in reader.names("a"):
        assert (attributes["href"] or "")[1:] in ids
    tables = len(reader.names("table"))
    assert tables == len(reader.names("caption"))
    assert all(attributes.get("scope") in {"col", "row"} for attributes in reader.names("th"))
    assert "@media print" in STYLE
    assert "@page" in STYLE


def test_there_must_be_a_log(tmp_path: Path) -> None:
    """A wrong path is the operator's mistake and makes no page."""
    with pytest.raises(ConfigurationError):
        render_report(tmp_path)
