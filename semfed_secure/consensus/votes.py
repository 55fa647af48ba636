"""Weighted plurality over the candidates of each prompt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.consensus.outcome import (
    ABSTAIN,
    PPM,
    BoolArray,
    IntArray,
    Outcomes,
    Status,
    join,
    status_of,
    tie_key,
    tolerance,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from semfed_secure.wire.messages import ConsensusRule

_BLOCK_PROMPTS = 1024  # 1024 prompts x 64 clients x 64 clients x 8 bytes = 32 MiB


@dataclass(frozen=True, slots=True)
class Votes:
    """Evidence of a ``votes`` round.

    Attributes:
        answers: Candidate index or `ABSTAIN`, int64 ``(clients, prompts)``.
        candidate_counts: Number of candidates of each prompt, int64 ``(prompts,)``.
        prompt_ids: Identifier of each prompt.
        nonce: The round's nonce.
    """

    answers: IntArray
    candidate_counts: IntArray
    prompt_ids: tuple[str, ...]
    nonce: bytes

    def agreements(self, among: BoolArray | None = None) -> IntArray:
        """On how many prompts each two clients chose the same candidate, of the answers marked in ``among``."""
        answers = self.answers if among is None else np.where(among, self.answers, ABSTAIN)
        counts = [((answers == mine) & (mine >= 0)).sum(axis=1) for mine in answers]
        return np.array(counts, np.int64).reshape(len(answers), len(answers))

    def outweighed(self, weights: IntArray) -> BoolArray:
        """Whose candidate has less weight behind it than another of its prompt."""
        mass = np.stack([weights @ (self.answers == mine) for mine in self.answers])
        mass = np.where(self.answers >= 0, mass, 0)
        behind: BoolArray = (self.answers >= 0) & (mass < mass.max(axis=0))
        return behind

    def consensus(self, weights: IntArray, *, rule: ConsensusRule) -> Outcomes:
        """`vote_consensus` of these answers."""
        return vote_consensus(
            self.answers,
            weights,
            candidate_counts=self.candidate_counts,
            rule=rule,
            nonce=self.nonce,
            prompt_ids=self.prompt_ids,
        )

    def without(self, client: int) -> Votes:
        """The same round as if ``client`` had not voted."""
        return replace(self, answers=np.delete(self.answers, client, axis=0))

    def part(self, prompts: slice) -> Votes:
        """The votes on some prompts."""
        return Votes(self.answers[:, prompts], self.candidate_counts[prompts], self.prompt_ids[prompts], self.nonce)

    def same_meaning(self, first: int, second: int) -> bool:
        """Two votes count as one only when they name the same candidate."""
        return first == second


def vote_consensus(
    votes: NDArray[np.int16] | IntArray,
    weights: IntArray,
    *,
    candidate_counts: NDArray[np.integer],
    rule: ConsensusRule,
    nonce: bytes,
    prompt_ids: Sequence[str],
) -> Outcomes:
    """Weighted plurality of each prompt, with support, margin and certified tolerance.

    Permuting the clients changes nothing. With equal weights, no ``f`` clients can change the winner of
    a prompt whose margin is at least ``2 f + 1`` votes. A vote outside its candidates counts as abstention.

    Args:
        votes: Candidate index or -1, ``(clients, prompts)``.
        weights: Parts per million, ``(clients,)``.
        candidate_counts: ``(prompts,)``.
        rule: Thresholds for `Status.AGREED`.
        nonce: The round's nonce; ties end by `tie_key`.
        prompt_ids: Identifier of each prompt.
    """
    answers = np.asarray(votes, dtype=np.int64)
    answers = np.where((answers >= 0) & (answers < candidate_counts), answers, ABSTAIN)
    blocks = [
        _block(
            answers[:, start : start + _BLOCK_PROMPTS], weights, rule, nonce, prompt_ids[start : start + _BLOCK_PROMPTS]
        )
        for start in range(0, max(answers.shape[1], 1), _BLOCK_PROMPTS)
    ]
    return join(blocks)


def _block(
    votes: IntArray, weights: IntArray, rule: ConsensusRule, nonce: bytes, prompt_ids: Sequence[str]
) -> Outcomes:
    present = votes >= 0
    # (prompts, clients, clients): whether two clients chose the same candidate.
    same = (votes.T[:, :, None] == votes.T[:, None, :]) & present.T[:, :, None]
    mass = same @ weights
    winner, top = _winners(votes, mass, nonce, prompt_ids)
    members = present & (votes == winner)
    outside = (present & ~members).T
    rival = np.where(outside, mass, 0).max(axis=1, initial=0)
    rival_count = np.where(outside, same.sum(axis=2), 0).max(axis=1, initial=0)
    total = np.maximum(weights @ present, 1)
    support_ppm = top * PPM // total
    margin_ppm = (top - rival) * PPM // total
    status = status_of(answered=present.sum(axis=0), support_ppm=support_ppm, margin_ppm=margin_ppm, rule=rule)
    return Outcomes(
        status=status,
        label=np.where(status == Status.AGREED, winner, ABSTAIN),
        support_ppm=support_ppm,
        margin_ppm=margin_ppm,
        certified_tolerance=tolerance(
            members.sum(axis=0), rival_count, top=top, rival=rival, weights=weights, rule=rule
        ),
        members=members,
        core=members,
    )


def _winners(votes: IntArray, mass: IntArray, nonce: bytes, prompt_ids: Sequence[str]) -> tuple[IntArray, IntArray]:
    top = mass.max(axis=1, initial=0)
    leads: BoolArray = (mass == top[:, None]).T & (votes >= 0)
    high = np.where(leads, votes, ABSTAIN).max(axis=0, initial=ABSTAIN)
    low = np.where(leads, votes, np.iinfo(np.int64).max).min(axis=0, initial=np.iinfo(np.int64).max)
    winner = high.copy()
    for prompt in np.flatnonzero((high >= 0) & (low != high)).tolist():
        tied = {int(vote) for vote in votes[leads[:, prompt], prompt]}
        prompt_id = prompt_ids[prompt]
        winner[prompt] = min(tied, key=lambda vote: tie_key(nonce, prompt_id, vote.to_bytes(8, "big")))
    return winner, top
