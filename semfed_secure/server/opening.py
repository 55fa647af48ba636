"""Opening a round: from what the operator asks for to the manifest that the server signs; no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from semfed_secure.clock import to_ms
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.records import Role
from semfed_secure.ids import is_name
from semfed_secure.units import Aggregation, OutputKind
from semfed_secure.wire.candidates import can_be_voted_on
from semfed_secure.wire.messages import (
    NONCE_BYTES,
    CandidateSource,
    ConsensusRule,
    Decoding,
    Embedder,
    Group,
    PrivacyFloor,
    RoundManifest,
)
from semfed_secure.wire.prompts import is_readable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from semfed_secure.clock import Randomness
    from semfed_secure.crypto.keys import SealingKey
    from semfed_secure.identity.roster import Roster
    from semfed_secure.ids import FederationId, RoundId
    from semfed_secure.wire.prompts import PromptSet

RULES = {OutputKind.VOTES: ("weighted_plurality",), OutputKind.TEXT: ("semantic_group", "proposals")}
"""How results are formed of each kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPlan:
    """What the operator decides about a round.

    Attributes:
        round_id: Its name, new in this database.
        kind: What clients answer.
        rule: How answers become one result per prompt.
        dp_floor: The weakest declared privacy that is admitted.
        max_new_tokens: Length of generated answers.
        opens_at: When contributions begin.
        closes_at: When they end; of texts, the commitments.
        opening_ends_at: When the time to open commitments ends; for ``text`` only.
        embedder: The pinned embedder; for ``text`` only.
        candidates_from: The round that proposed the candidates of its prompts; for ``votes`` only.
        gold: The right answers to gold prompts by the ids of these; no message carries them.
        groups: Who forms a consensus with whom; empty where all form one.
    """

    round_id: RoundId
    kind: OutputKind
    rule: ConsensusRule
    dp_floor: PrivacyFloor
    max_new_tokens: int
    opens_at: datetime
    closes_at: datetime
    opening_ends_at: datetime | None = None
    embedder: Embedder | None = None
    candidates_from: CandidateSource | None = None
    gold: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What stands when a round opens: whose round it is, who may take part, and where the log stands."""

    federation: FederationId
    roster: Roster
    recipient_key: SealingKey
    log_checkpoint: str


def make_manifest(plan: RoundPlan, prompt_set: PromptSet, ground: Ground, randomness: Randomness) -> RoundManifest:
    """The manifest of a round that can be held.

    Raises:
        ConfigurationError: ``SF105`` the plan cannot be held; ``SF104`` the prompt set does not fit it.
    """
    check_plan(plan, prompt_set)
    return RoundManifest(
        federation=ground.federation,
        round_id=plan.round_id,
        nonce=randomness.token_bytes(NONCE_BYTES),
        prompt_set_digest=prompt_set.digest,
        prompt_count=len(prompt_set.prompts),
        kind=plan.kind,
        aggregation=Aggregation.DIRECT,
        embedder=plan.embedder,
        decoding=Decoding(plan.max_new_tokens),
        rule=plan.rule,
        dp_floor=plan.dp_floor,
        roster_digest=ground.roster.digest,
        roster_sequence=ground.roster.sequence,
        policy_digest=None,
        recipient_key=ground.recipient_key.encode(),
        opens_at_ms=to_ms(plan.opens_at),
        closes_at_ms=to_ms(plan.closes_at),
        opening_ends_at_ms=None if plan.opening_ends_at is None else to_ms(plan.opening_ends_at),
        log_checkpoint=ground.log_checkpoint,
        candidates_from=plan.candidates_from,
        groups=plan.groups,
    )


def check_plan(plan: RoundPlan, prompt_set: PromptSet) -> None:
    """Refuse a round that no client could answer or no server could close.

    Raises:
        ConfigurationError: as `make_manifest`.
    """
    if not is_name(plan.round_id):
        raise ConfigurationError("SF105", "a round id of 1-63 of a-z 0-9 . _ - was expected")
    if plan.rule.name not in RULES.get(plan.kind, ()):
        raise ConfigurationError("SF105", f"rounds of kind votes or text were expected, each with a rule of {RULES}")
    if (plan.embedder is None) != (plan.kind is OutputKind.VOTES):
        raise ConfigurationError("SF105", "an embedder was expected for text, and none for votes")
    if (plan.opening_ends_at is None) != (plan.kind is OutputKind.VOTES):
        raise ConfigurationError("SF105", "a time to open commitments was expected for text, and none for votes")
    bare = [prompt.id for prompt in prompt_set.prompts if len(prompt_set.candidates_of(prompt)) < 2]
    if plan.kind is OutputKind.VOTES and bare:
        raise ConfigurationError("SF104", f"two candidates or more were expected for each prompt, {bare[0]} has fewer")
    if plan.rule.max_candidates and not can_be_voted_on(prompt_set, plan.rule.max_candidates):
        raise ConfigurationError("SF105", "fewer candidates or prompts were expected: no vote on so many can be held")
    small = [group.name for group in plan.groups if len(group.members) < plan.rule.min_clients]
    if small:
        least = plan.rule.min_clients
        raise ConfigurationError("SF105", f"groups of {least} clients or more were expected, {small[0]} has fewer")
    _check_gold(plan, prompt_set)


def check_groups(groups: Sequence[Group], roster: Roster, at: datetime) -> None:
    """Refuse groups that leave a client out, or name somebody who is none; no groups are always right.

    A client whose term has not begun is one too: it may begin before the round closes.

    Raises:
        ConfigurationError: ``SF101``, with the names.
    """
    clients = [record for record in roster.records if Role.CLIENT in record.roles]
    named = {member for group in groups for member in group.members}
    absent = {record.member_id for record in clients if not roster.revoked(record, at=at)} - named
    strange = named - {record.member_id for record in clients}
    for members, defect in ((absent, "stand in no group"), (strange, "are not on the roster")):
        if groups and members:
            sentence = f"every client of the roster was expected in a group: {', '.join(sorted(members))} {defect}"
            raise ConfigurationError("SF101", sentence)


def _check_gold(plan: RoundPlan, prompt_set: PromptSet) -> None:
    if plan.rule.weights == "anchored" and not plan.gold:
        raise ConfigurationError("SF105", "gold prompts were expected, since they are to weigh")
    choices = {str(prompt.id): prompt_set.candidates_of(prompt) for prompt in prompt_set.prompts}
    for prompt_id, answer in plan.gold.items():
        if prompt_id not in choices:
            raise ConfigurationError("SF104", f"gold prompts of the set were expected, {prompt_id} is not in it")
        if plan.kind is OutputKind.VOTES and answer not in choices[prompt_id]:
            raise ConfigurationError("SF104", f"the gold answer to {prompt_id} was expected among its candidates")
        if not is_readable(answer):
            raise ConfigurationError("SF104", f"the gold answer to {prompt_id} was expected without hidden characters")
