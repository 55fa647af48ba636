"""The round report: truthful about each client's influence."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.consensus import Evidence, RoundReport, evaluate, round_report
from tests.consensus.evidence import planted, rule, texts, votes

if TYPE_CHECKING:
    from semfed_secure.wire.messages import ConsensusRule


def _report(evidence: Evidence, terms: ConsensusRule) -> RoundReport:
    outcomes, weights = evaluate(evidence, terms)
    clients, prompts = evidence.answers.shape
    names = [f"site-{index}" for index in range(clients)]
    ids = [f"p{index}" for index in range(prompts)]
    return round_report(evidence, outcomes, weights, rule=terms, members=names, prompt_ids=ids)


def test_influence_equals_the_twin_round_without_the_client() -> None:
    """The figures of each client are those of a round in which it never took part."""
    evidence, terms = planted(), rule(min_support_ppm=500_000, min_clients=3)
    report = _report(evidence, terms)
    for row, client in enumerate(report.clients):
        outcomes, _ = evaluate(evidence, terms)
        twin, _ = evaluate(
            replace(evidence, answers=np.delete(evidence.answers, row, 0)),
            terms,
        )
        own = (outcomes.label == evidence.answers[row]) & (outcomes.label >= 0)
        assert client.influence.agreed_without == int((twin.label >= 0).sum())
        assert client.influence.agreed_only_with == int((own & (twin.label != outcomes.label)).sum())
        assert client.influence.changed == int(
            ((outcomes.label != twin.label) | (outcomes.status != twin.status)).sum()
        )


def test_counts_add_up_and_shares_are_of_what_was_answered() -> None:
    """Agreed, contested and too few are all prompts; an abstention is neither support nor trim."""
    report = _report(votes([[0, 0, 1], [0, 1, -1], [0, 2, -1]]), rule(min_clients=2, min_support_ppm=500_000))
    assert (report.agreed, report.contested, report.too_few) == (1, 1, 1)
    assert [client.answered for client in report.clients] == [3, 2, 2]
    assert report.prompts[0].certified_tolerance == 1
    assert 999_999 <= report.clients[0].supported_ppm + report.clients[0].trimmed_ppm <= 1_000_000


def test_a_client_that_decides_a_text_prompt_is_named() -> None:
    """Two against two, and one that tips the scale: the prompt agrees with its answer only with it."""
    directions = {"aa": (1, 0), "bb": (0, 1)}
    report = _report(texts([("aa",), ("aa",), ("bb",), ("bb",), ("aa",)], directions), rule(min_support_ppm=600_000))
    assert report.agreed == 1
    assert [client.influence.agreed_only_with for client in report.clients] == [1, 1, 0, 0, 1]
    assert [client.influence.changed for client in report.clients] == [1, 1, 0, 0, 1]


def test_another_wording_of_the_same_meaning_is_no_change() -> None:
    """Without a client the group may speak through another member; that is not counted as influence."""
    directions = {"aa": (1, 0), "ab": (1, 0.1), "ac": (1, 0.2)}
    report = _report(texts([("aa",), ("ab",), ("ac",)], directions), rule(min_clients=2))
    assert [client.influence.changed for client in report.clients] == [0, 0, 0]


def test_the_report_is_json_ready() -> None:
    """No numpy scalar is left in it."""
    assert json.loads(json.dumps(_report(planted(), rule()).as_json()))["clients"][0]["member"] == "site-0"
