"""The round report: plain words, and pictures that are bounded, accessible and take no markup from anybody."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from semfed_secure.consensus import evaluate, round_report
from semfed_secure.server.report_pictures import (
    agreement_map,
    support_histogram,
    trimmed_shares,
    weights_over_rounds,
)
from semfed_secure.server.report_words import findings, markdown
from tests.consensus.evidence import rule, votes

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script>"


def _report(clients: int = 8, prompts: int = 60, name: str = "site") -> dict[str, Any]:
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 7, prompts)
    rows = [np.where(generator.random(prompts) < 0.8, truth, generator.integers(0, 8, prompts)) for _ in range(clients)]
    rows[1] = rows[0] = (truth + 1) % 7  # two that always say the same wrong thing
    rows[2][:5] = -1
    evidence, terms = votes(rows), rule(min_clients=3, min_support_ppm=500_000)
    outcomes, weights = evaluate(evidence, terms)
    members = [f"{name}-{row}" for row in range(clients)]
    ids = [f"{name}{row}" for row in range(prompts)]
    report = round_report(evidence, outcomes, weights, rule=terms, members=members, prompt_ids=ids).as_json()
    return {"group": None} | report


def _text(*reports: dict[str, Any], refused: tuple[str, ...] = ()) -> str:
    groups = {report["group"]: [row["member"] for row in report["clients"]] for report in reports if report["group"]}
    rows = [{"member": member} for member in refused]
    status = {"round_id": "round-1", "refused": rows, "groups": groups, "report": {"groups": reports}}
    return markdown(status, [{}] * len(reports))


def _drawn(report: dict[str, Any]) -> dict[str, str]:
    members = [row["member"] for row in report["clients"]]
    weights = {row["member"]: [None, row["observed_weight_ppm"]] for row in report["clients"]}
    return {
        "support": support_histogram(report["prompts"]),
        "agreement": agreement_map(members, report["agreement_permille"]),
        "weights": weights_over_rounds(["round-0", "round-1"], weights, "Weights"),
        "trimmed": trimmed_shares(report["clients"]),
    }


@pytest.mark.parametrize("name", ["site", HOSTILE])
def test_every_picture_is_well_formed_titled_and_without_script(name: str) -> None:
    """A name that is markup stays text; nothing is loaded from anywhere."""
    for picture in _drawn(_report(name=name)).values():
        root = ET.fromstring(picture)
        assert root.get("role") == "img"
        assert root.find(f"{SVG}title").text
        assert root.find(f"{SVG}desc").text
        assert not root.findall(f".//{SVG}script")
        assert "href" not in picture
        assert "url(http" not in picture


def test_the_map_says_in_figures_how_often_two_clients_agreed() -> None:
    """The pair that always says the same is 100 % and darkest; agreement is a share of what both answered."""
    report = _report()
    assert report["agreement_permille"][1] == (1000,)
    picture = agreement_map([row["member"] for row in report["clients"]], report["agreement_permille"])
    texts = [text.text for text in ET.fromstring(picture).iter(f"{SVG}text")]
    assert "100" in texts
    assert sum(text == "site-1" for text in texts) == 2


def test_agreement_is_of_the_prompts_that_both_answered() -> None:
    """Two of three in common and one the same is a half; nothing in common is -1."""
    evidence, terms = votes([[0, 1, 2], [0, 2, -1], [-1, -1, -1]]), rule()
    outcomes, weights = evaluate(evidence, terms)
    report = round_report(evidence, outcomes, weights, rule=terms, members=["a", "b", "c"], prompt_ids=["1", "2", "3"])
    assert report.agreement_permille == ((), (500,), (-1, -1))


def test_the_histogram_counts_every_prompt_once() -> None:
    """Each bar says what it counts, and all bars together are the prompts."""
    report = _report()
    titles = [title.text or "" for title in ET.fromstring(support_histogram(report["prompts"])).iter(f"{SVG}title")]
    assert sum(int(title.split()[0]) for title in titles if "support from" in title) == 60


def test_the_words_name_who_was_wrong_together_and_who_stands_outside() -> None:
    """The two that copy each other are the first that an operator reads of."""
    sentences = findings(_report())
    assert any("site\\-0 and site\\-1 said the same on 100.0 %" in sentence for sentence in sentences)
    assert any("of what site\\-0 answered stands outside" in sentence for sentence in sentences)
    assert not any("what site\\-5 answered" in sentence for sentence in sentences)


def test_a_round_of_which_nothing_is_to_be_said_says_so() -> None:
    """Everybody agrees on everything, in a round whose labels nobody could change alone."""
    evidence, terms = votes([[0, 1], [0, 1], [0, 1]]), rule()
    outcomes, weights = evaluate(evidence, terms)
    report = round_report(evidence, outcomes, weights, rule=terms, members=["a", "b", "c"], prompt_ids=["1", "2"])
    document = report.as_json() | {"group": None, "agreement_permille": ((), (0,), (0, 0))}
    assert findings(document) == []
    assert "Nothing stands out." in _text(document)


def test_each_group_has_a_part_of_its_own_in_the_text() -> None:
    """With its name, its clients and those of it that were refused; a group of nobody has one too."""
    text = _text(
        _report(name="bank") | {"group": "finance"},
        _report(name="clinic") | {"group": "healthcare"},
        {"group": "research", "agreed": 0, "contested": 0, "too_few": 2, "weights": "equal"}
        | {"other_weights": [], "clients": [], "prompts": [{"status": "too_few"}] * 2, "agreement_permille": []},
        refused=("bank-1", "clinic-1", "clinic-2"),
    )
    _, finance, healthcare, research = text.split("# Round round\\-1, group ")
    assert ("bank" in finance, "clinic" in finance, "8 clients, 1 refused" in finance) == (True, False, True)
    assert ("bank" in healthcare, "clinic" in healthcare, "8 clients, 2 refused" in healthcare) == (False, True, True)
    assert "answered by 0 clients: 0 agreed" in research


def test_names_are_no_markup_in_the_text() -> None:
    """Neither Markdown nor HTML."""
    text = _text(_report(name=f"{HOSTILE}*x*|[z](w)"))
    assert "<script" not in text
    assert "*x*" not in text
    assert "[z](w)" not in text


def test_a_report_on_two_hundred_clients_and_twenty_thousand_prompts_stays_small() -> None:
    """Pictures and text do not grow with the prompts, and with the clients only as fast as their pairs."""
    report = _report(clients=8, prompts=60)
    one, row = report["clients"][4], report["prompts"][0]
    clients = [one | {"member": f"hospital-{number:03}"} for number in range(200)]
    large = report | {
        "clients": clients,
        "prompts": [row | {"prompt": f"p{number}"} for number in range(20_000)],
        "agreement_permille": [[number * 7 % 1001 for number in range(client)] for client in range(200)],
    }
    sizes = {name: len(picture) for name, picture in _drawn(large).items()}
    assert max(sizes.values()) < 500_000, sizes
    assert len(_text(large)) < 60_000
