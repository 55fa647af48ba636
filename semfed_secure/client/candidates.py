"""Proposed candidates at a site: those that a verified round published, no more, no fewer, and none with an identifier.

They stand in the order of a hash that nobody could choose, and that a site recomputes: another might tell who proposed.
They are not compared with private records here. Whether this site then takes part would tell whoever proposed them
what stands in a record; a person compares, before the policy grants the prompts (`semfed_secure.client.review`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from semfed_secure.consensus import in_order, tie_seed
from semfed_secure.detect import scan
from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.wire.candidates import can_be_candidate, voting_set

if TYPE_CHECKING:
    from semfed_secure.client.round import VerifiedConsensus, VerifiedRound


def require_proposed(round_: VerifiedRound, published: VerifiedConsensus) -> None:
    """Accept only a round of votes on exactly the candidates of ``published``, over the prompts that it asked.

    Raises:
        PeerError: SF352.
    """
    source, proposals = round_.manifest.candidates_from, published.round.manifest
    found = (proposals.round_id, proposals.prompt_set_digest, published.consensus.digest)
    if source is None or found != (source.round_id, source.prompt_set_digest, source.consensus_digest):
        _refuse("the round of proposals that the manifest names was expected")
    if proposals.rule.name != "proposals":
        _refuse("candidates of a round of proposals were expected")
    results = published.results
    try:
        expected = voting_set(published.round.prompts, results).digest
    except ConfigurationError:  # lists of which the wire carries no prompt set
        expected = None
    if expected != round_.manifest.prompt_set_digest:
        _refuse("exactly the candidates that were published were expected")
    nonce = tie_seed(proposals.nonce, published.consensus.commitments_root)
    for prompt, result in zip(published.round.prompts.prompts, results, strict=True):
        if result.candidates != in_order(result.candidates, nonce=nonce, prompt_id=prompt.id):
            _refuse("candidates in the order of the round's own hash were expected")
    texts = {text for result in results for text in result.candidates}
    if not all(can_be_candidate(text) and not scan(text) for text in texts):
        _refuse("candidates on one line, without identifiers, were expected")


def _refuse(sentence: str) -> NoReturn:
    raise PeerError("SF352", sentence)
