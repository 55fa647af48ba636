"""Propose and vote, the server's side: candidates of proposed texts, and the round of votes on what was published."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from semfed_secure.errors import ConfigurationError
from semfed_secure.wire.candidates import can_be_candidate, voting_set
from semfed_secure.wire.messages import CandidateSource, PromptResult, PromptStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from semfed_secure.server.stored import StoredTerms
    from semfed_secure.wire.messages import Consensus, Payload
    from semfed_secure.wire.prompts import PromptSet


def as_proposals(payload: Payload, prompt_set: PromptSet) -> Payload:
    """The payload with nothing in it that could be no candidate of its prompt: who gave such a text abstained."""
    pairs = zip(payload.texts, prompt_set.prompts, strict=True)
    kept = tuple(
        text if text is not None and can_be_candidate(text, beside=prompt_set.candidates_of(prompt)) else None
        for text, prompt in pairs
    )
    return replace(payload, texts=kept)


def proposed_results(lists: Iterable[tuple[str, ...]]) -> tuple[PromptResult, ...]:
    """What a round of proposals publishes: each prompt's candidates, and nothing of who or how many stand behind."""
    return tuple(
        PromptResult(PromptStatus.PROPOSED if listed else PromptStatus.TOO_FEW, None, 0, 0, listed) for listed in lists
    )


def to_vote_on(terms: StoredTerms, consensus: Consensus) -> tuple[PromptSet, CandidateSource]:
    """The prompt set of a round of votes on these proposals, and what its manifest says of their origin.

    Raises:
        ConfigurationError: ``SF104`` the round formed no candidates, or too few for any prompt.
    """
    manifest = terms.manifest
    if manifest.rule.name != "proposals":
        raise ConfigurationError("SF104", f"a round of proposals was expected, {manifest.round_id} is none")
    prompt_set = voting_set(terms.prompt_set, consensus.results[0])
    if not prompt_set.prompts:
        raise ConfigurationError("SF104", f"no prompt of {manifest.round_id} has two candidates to vote on")
    return prompt_set, CandidateSource(manifest.round_id, manifest.prompt_set_digest, consensus.digest)
