"""The round manifest: what the server announces, and signs, before anyone answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from semfed_secure.ids import Digest, FederationId, KeyId, MemberId, RoundId, hex_digest, sha256
from semfed_secure.units import Aggregation, Mechanism, OutputKind, PrivacyUnit, Relation
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.prompts import MAX_PROMPTS, MAX_PROPOSED
from semfed_secure.wire.schema import (
    DECIMAL_TEXT,
    DIGEST,
    INSTANT_MS,
    NAME,
    PPM,
    SEQUENCE,
    Message,
    WireValueError,
    choice,
    many,
    maybe,
    octets,
    one_of,
    record,
    text,
    whole,
)
from semfed_secure.wire.types import MessageType

MAX_MEMBERS = 1_000
"""Members of one federation: sets the size of rosters, cohorts and reports."""
NONCE_BYTES = 32
MAX_WITNESSES = 6
"""Witnesses whose cosignatures, of 3.4 kB each, a manifest carries."""
MAX_CHECKPOINT_BYTES = 26 * 1024
"""A server's log checkpoint with its two signatures and those of `MAX_WITNESSES`."""
MAX_SEALING_KEY_BYTES = 4 * 1024
_FEWEST_GROUPS = 2
MAX_GROUPS = 32
"""Consensuses of one round."""
MANIFEST_LIMITS = Limits(max_bytes=100 * 1024, max_items=1_000 + MAX_MEMBERS)
"""A checkpoint and a sealing key, and 66 kB for the names of `MAX_MEMBERS` in `MAX_GROUPS`."""


@dataclass(frozen=True, slots=True)
class Embedder:
    """The sentence embedder by which the server compares texts, pinned by its weights."""

    name: str
    weights_digest: Digest
    dimension: int


@dataclass(frozen=True, slots=True)
class Decoding:
    """How sites generate their answers."""

    max_new_tokens: int


@dataclass(frozen=True, slots=True)
class ConsensusRule:
    """How one result per prompt is formed, in integers so that it can be recomputed exactly.

    ``*_ppm`` are shares in millionths: least support of the winner, least margin over the next, least
    similarity inside a semantic group, and the share trimmed at the edge. ``proposals`` forms no labels but lists of
    candidates, of at most ``max_candidates`` semantic groups with that support each; other rules form none.
    ``weights`` says what may move a client's weight, and with that how far: nothing; its behaviour, down to a half; its
    answers to gold prompts, which only the server knows, down to a fiftieth and up to a third of the whole.
    """

    name: Literal["weighted_plurality", "semantic_group", "proposals"]
    min_clients: int
    min_support_ppm: int
    min_margin_ppm: int
    similarity_ppm: int
    trim_ppm: int
    weights: Literal["equal", "agreement", "anchored"]
    max_candidates: int = 0


@dataclass(frozen=True, slots=True)
class CandidateSource:
    """The round of proposals that a round of votes has its candidates from.

    ``prompt_set_digest`` is of the prompts that it asked, ``consensus_digest`` of the lists that it published.
    """

    round_id: RoundId
    prompt_set_digest: Digest
    consensus_digest: Digest


@dataclass(frozen=True, slots=True)
class Group:
    """Members that form a consensus among themselves, apart from the others of their round.

    The same prompt may have another right answer in another domain. ``name`` is that of the domain, as its members'
    policies call it.
    """

    name: str
    members: tuple[MemberId, ...]


@dataclass(frozen=True, slots=True)
class PrivacyFloor:
    """The weakest declared privacy that the round admits; decimals as plain text."""

    max_epsilon: str
    max_delta: str
    unit: PrivacyUnit
    relation: Relation
    mechanisms: tuple[Mechanism, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundManifest:
    """Everything that all participants of a round must agree on before the first answer.

    Every later message names this manifest by its digest, so nothing in it can change during the round.

    Attributes:
        recipient_key: The encoded sealing key of this round alone. It is not used for another round, and its private
            half is destroyed when this one takes no more contributions; the manifest's signatures make it the server's.
        closes_at_ms: When contributions end; in a round of texts, commitments.
        opening_ends_at_ms: When the time to open the commitments ends; None where contributions are sent at once.
        candidates_from: Where the candidates of the prompts were proposed; None where they stand in a reviewed set.
        groups: Who forms a consensus with whom; empty where all form one. They are named here, before the first answer,
            so that no member chooses afterwards where it votes.
    """

    federation: FederationId
    round_id: RoundId
    nonce: bytes
    prompt_set_digest: Digest
    prompt_count: int
    kind: OutputKind
    aggregation: Aggregation
    embedder: Embedder | None
    decoding: Decoding
    rule: ConsensusRule
    dp_floor: PrivacyFloor
    roster_digest: Digest
    roster_sequence: int
    policy_digest: Digest | None
    recipient_key: bytes
    opens_at_ms: int
    closes_at_ms: int
    opening_ends_at_ms: int | None
    log_checkpoint: str
    candidates_from: CandidateSource | None = None
    groups: tuple[Group, ...] = ()

    def place_of(self, member: str) -> int | None:
        """The place of the consensus that ``member`` has a part in, among those of the round; None if it has none."""
        if not self.groups:
            return 0
        return next((place for place, group in enumerate(self.groups) if member in group.members), None)

    @property
    def consensuses(self) -> int:
        """How many the round forms."""
        return len(self.groups) or 1

    @property
    def digest(self) -> Digest:
        """SHA-256 of the encoded manifest: the name of this round's terms."""
        return _digest_of(self)

    @property
    def ends_at_ms(self) -> int:
        """When the round takes nothing any more."""
        return self.closes_at_ms if self.opening_ends_at_ms is None else self.opening_ends_at_ms

    @property
    def recipient_key_id(self) -> KeyId:
        """The id of `recipient_key`, which contributions name."""
        return KeyId(hex_digest(sha256(self.recipient_key)))


@lru_cache(maxsize=64)  # every contribution to a round is held against it
def _digest_of(manifest: RoundManifest) -> Digest:
    return sha256(encode_manifest(manifest))


def encode_manifest(manifest: RoundManifest) -> bytes:
    """The deterministic bytes of ``manifest``; ``SF105`` if a field is out of range."""
    return _MANIFEST.encode(manifest)


def parse_manifest(data: bytes) -> RoundManifest:
    """Read a manifest payload; its signatures are `semfed_secure.crypto.signing`'s business.

    Raises:
        PeerError: ``SF301``, ``SF302`` or ``SF303``.
    """
    return _MANIFEST.parse(data)


def _holds_together(manifest: RoundManifest) -> None:
    if manifest.opens_at_ms >= manifest.closes_at_ms:
        raise WireValueError("a round that closes after it opens was expected")
    if (manifest.opening_ends_at_ms is None) == (manifest.kind is OutputKind.TEXT):
        raise WireValueError("a time to open commitments was expected for texts, and for nothing else")
    if manifest.opening_ends_at_ms is not None and manifest.opening_ends_at_ms <= manifest.closes_at_ms:
        raise WireValueError("commitments that are opened after they closed were expected")
    rule = manifest.rule
    if rule.name in {"semantic_group", "proposals"} and manifest.embedder is None:
        raise WireValueError(f"an embedder was expected for the rule {rule.name}")
    if rule.name == "proposals" and manifest.kind is not OutputKind.TEXT:
        raise WireValueError("proposals were expected to be texts")
    if (rule.max_candidates > 0) != (rule.name == "proposals"):
        raise WireValueError("a number of candidates was expected for proposals, and for nothing else")
    if manifest.candidates_from is not None and manifest.kind is not OutputKind.VOTES:
        raise WireValueError("proposed candidates were expected to be voted on")
    if manifest.groups:
        _groups_hold_together(manifest)


def _groups_hold_together(manifest: RoundManifest) -> None:
    names = [group.name for group in manifest.groups]
    if len(names) < _FEWEST_GROUPS or names != sorted(set(names)):
        raise WireValueError("two groups or more, sorted by name without repeats, were expected")
    members = [member for group in manifest.groups for member in group.members]
    if len(set(members)) != len(members) or len(members) > MAX_MEMBERS:
        raise WireValueError(f"at most {MAX_MEMBERS} members, each in one group, were expected")
    if any(list(group.members) != sorted(group.members) for group in manifest.groups):
        raise WireValueError("sorted members were expected")
    if manifest.rule.name == "proposals":
        raise WireValueError("proposals were expected to be of everybody")
    if len(names) * manifest.prompt_count > MAX_PROMPTS:
        raise WireValueError(f"at most {MAX_PROMPTS} results of all groups together were expected")


_EMBEDDER = record(
    Embedder,
    {1: ("name", text(200, r"[\x21-\x7e]+")), 2: ("weights_digest", DIGEST), 3: ("dimension", whole(1, 16_384))},
)
_DECODING = record(Decoding, {1: ("max_new_tokens", whole(1, 1_024))})
_RULE = record(
    ConsensusRule,
    {
        1: ("name", one_of("weighted_plurality", "semantic_group", "proposals")),
        2: ("min_clients", whole(1, MAX_MEMBERS)),
        3: ("min_support_ppm", PPM),
        4: ("min_margin_ppm", PPM),
        5: ("similarity_ppm", PPM),
        6: ("trim_ppm", PPM),
        7: ("weights", one_of("equal", "agreement", "anchored")),
        8: ("max_candidates", whole(0, MAX_PROPOSED)),
    },
)
_SOURCE = record(
    CandidateSource,
    {1: ("round_id", NAME), 2: ("prompt_set_digest", DIGEST), 3: ("consensus_digest", DIGEST)},
)
_GROUP = record(Group, {1: ("name", NAME), 2: ("members", many(NAME, MAX_MEMBERS, 1))})
_FLOOR = record(
    PrivacyFloor,
    {
        1: ("max_epsilon", DECIMAL_TEXT),
        2: ("max_delta", DECIMAL_TEXT),
        3: ("unit", choice(PrivacyUnit)),
        4: ("relation", choice(Relation)),
        5: ("mechanisms", many(choice(Mechanism), len(Mechanism), 1)),
    },
)
_MANIFEST = Message(
    MessageType.MANIFEST.value,
    1,
    record(
        RoundManifest,
        {
            2: ("federation", NAME),
            3: ("round_id", NAME),
            4: ("nonce", octets(NONCE_BYTES)),
            5: ("prompt_set_digest", DIGEST),
            6: ("prompt_count", whole(1, MAX_PROMPTS)),
            7: ("kind", choice(OutputKind)),
            8: ("aggregation", choice(Aggregation)),
            9: ("embedder", maybe(_EMBEDDER)),
            10: ("decoding", _DECODING),
            11: ("rule", _RULE),
            12: ("dp_floor", _FLOOR),
            13: ("roster_digest", DIGEST),
            14: ("roster_sequence", SEQUENCE),
            15: ("policy_digest", maybe(DIGEST)),
            16: ("recipient_key", octets(32, MAX_SEALING_KEY_BYTES)),
            17: ("opens_at_ms", INSTANT_MS),
            18: ("closes_at_ms", INSTANT_MS),
            19: ("opening_ends_at_ms", maybe(INSTANT_MS)),
            20: ("log_checkpoint", text(MAX_CHECKPOINT_BYTES)),
            21: ("candidates_from", maybe(_SOURCE)),
            22: ("groups", many(_GROUP, MAX_GROUPS)),
        },
        _holds_together,
    ),
    MANIFEST_LIMITS,
)
