"""A federation in memory: real keys, real roster, real database, a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from semfed_secure.audit.log import AuditLog
from semfed_secure.clock import FixedClock, SystemRandomness, to_ms
from semfed_secure.crypto.keys import OpeningKey, SealingKey, SigningKey
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.crypto.sealing import seal
from semfed_secure.crypto.signing import sign
from semfed_secure.identity.member_files import MemberKeys
from semfed_secure.identity.records import MemberRecord, Role, create_record
from semfed_secure.identity.root import FederationRoot
from semfed_secure.identity.roster import Revocation, sign_roster
from semfed_secure.ids import Digest, FederationId, MemberId, PromptId, RoundId, sha256
from semfed_secure.server.config import LimitsSection
from semfed_secure.server.context import ServerContext
from semfed_secure.server.coordinator import Coordinator
from semfed_secure.server.opening import RoundPlan
from semfed_secure.server.rosters import RosterKeeper
from semfed_secure.server.round_keys import ROUND_KEYS, RoundKeys
from semfed_secure.storage import Database
from semfed_secure.units import Mechanism, OutputKind, PrivacyDeclaration, PrivacyUnit, Relation
from semfed_secure.wire.messages import (
    ConsensusRule,
    Contribution,
    ContributionStatement,
    Embedder,
    MessageType,
    Payload,
    PrivacyFloor,
    RoundManifest,
    commit,
    encode_contribution,
    encode_payload,
    encode_statement,
    parse_contribution,
    statement_info,
)
from semfed_secure.wire.prompts import Prompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FEDERATION = FederationId("hospitals")
SITES = ("bay", "hill", "lake", "moor", "north")
CANDIDATES = ("heart", "lung", "skin", "eye")
PROMPTS = PromptSet("triage", tuple(Prompt(PromptId(f"p{n}"), f"phrase {n}") for n in range(6)), CANDIDATES)
FLOOR = PrivacyFloor("8", "0.00001", PrivacyUnit.ENTITY, Relation.ADD_OR_REMOVE_ONE, (Mechanism.DP_SGD,))
PLURALITY = ConsensusRule("weighted_plurality", 3, 500_000, 1, 0, 0, "equal")
SEMANTIC = ConsensusRule("semantic_group", 3, 500_000, 1, 700_000, 200_000, "equal")
PRIVACY = PrivacyDeclaration(
    Mechanism.DP_SGD, Decimal("3.5"), Decimal("0.000001"), PrivacyUnit.ENTITY, Relation.ADD_OR_REMOVE_ONE, "rdp"
)


class WordEmbedder:
    """One direction per word of the text's first word; enough to group and to part."""

    name = "words"
    weights_digest = sha256(b"words")
    dimension = 64

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """A unit vector by the first word, bent a little by the rest."""
        rows = []
        for text in texts:
            first = np.random.default_rng(sum(text.split()[0].encode())).standard_normal(64)
            rest = np.random.default_rng(sum(text.encode())).standard_normal(64)
            rows.append(first / np.linalg.norm(first) + 0.05 * rest / np.linalg.norm(rest))
        return np.array(rows, np.float32)


EMBEDDER = Embedder(WordEmbedder.name, WordEmbedder.weights_digest, WordEmbedder.dimension)


@dataclass(frozen=True)
class Member:
    """A member's keys, and its signed record."""

    keys: MemberKeys
    record: bytes

    @property
    def member_id(self) -> MemberId:
        """Its id."""
        return self.keys.record.member_id


@cache
def member(name: str, role: Role = Role.CLIENT, federation: FederationId = FEDERATION) -> Member:
    """A member with keys of its own; the same one every time in a test run."""
    signing, log = SigningKey.generate(), LogSigningKey.generate(f"{name}.example/{federation}/{name}")
    opening = OpeningKey.generate() if role is Role.SERVER else None
    record = MemberRecord(
        federation=federation,
        member_id=MemberId(name),
        domain=f"{name}.example",
        jurisdiction="DE",
        roles=frozenset({role}),
        signing_keys=(signing.public,),
        sealing_key=opening.public if opening else None,
        log_key=log.public.encode(),
        valid_from_ms=to_ms(NOW - timedelta(days=1000)),
        valid_until_ms=to_ms(NOW + timedelta(days=20_000)),
        sequence=1,
    )
    return Member(MemberKeys(record, signing, opening, log), create_record(record, [signing]))


@cache
def root() -> tuple[FederationRoot, SigningKey]:
    """The federation root with its only key."""
    key = SigningKey.generate()
    return FederationRoot(FEDERATION, 1, (key.public,)), key


def roster_file(
    names: Sequence[str] = SITES,
    *,
    sequence: int = 1,
    revoked: Sequence[str] = (),
    issued_at: datetime = NOW,
    witnesses: Sequence[str] = (),
) -> bytes:
    """A signed roster of the server, the named clients, and the named members that are witnesses only."""
    federation_root, key = root()
    members = [member("hub", Role.SERVER), *(member(name) for name in names)]
    members += [member(name, Role.WITNESS) for name in witnesses]
    return sign_roster(
        [each.record for each in members],
        root=federation_root,
        keys=[key],
        sequence=sequence,
        issued_at=issued_at,
        expires_at=issued_at + timedelta(days=200),
        revocations=[Revocation(MemberId(name), 1, to_ms(issued_at), "left") for name in revoked],
    )


@dataclass
class World:
    """A server on a directory; `restart` is what a crash and a new start look like."""

    directory: Path
    clock: FixedClock = field(default_factory=lambda: FixedClock(NOW))
    limits: LimitsSection = field(default_factory=LimitsSection)
    close_when_complete: bool = True
    min_witnesses: int = 0
    embedder: Callable[[], Any] | None = WordEmbedder
    url: str | None = None

    def __post_init__(self) -> None:
        """Write the roster and start."""
        (self.directory / "roster").write_bytes(roster_file())
        self.start()

    def start(self) -> None:
        """Open the database and take up what it holds."""
        hub = member("hub", Role.SERVER).keys
        self.database = Database.open(self.url or self.directory / "server.db", kind="server")
        self.audit = AuditLog(self.database, key=hub.log, clock=self.clock, writer="hub/server")
        keeper = RosterKeeper(self.directory / "roster", root=root()[0], database=self.database, clock=self.clock)
        self.context = ServerContext(
            database=self.database,
            audit=self.audit,
            keys=hub,
            round_keys=RoundKeys(self.directory / ROUND_KEYS, hub),
            rosters=keeper,
            clock=self.clock,
            randomness=SystemRandomness(),
            limits=self.limits,
            close_when_complete=self.close_when_complete,
            min_witnesses=self.min_witnesses,
            embedder=self.embedder,
        )
        self.server = Coordinator(self.context)

    def restart(self) -> None:
        """Forget everything that is not on disk."""
        self.database.close()
        self.start()

    def publish_roster(self, data: bytes) -> None:
        """Put another roster file in place."""
        beside = self.directory / "roster.new"
        beside.write_bytes(data)
        beside.replace(self.directory / "roster")

    def open(self, name: str = "round-1", **changes: Any) -> RoundManifest:
        """Open a round, by default over votes, and let it begin."""
        kind = changes.pop("kind", OutputKind.VOTES)
        text = kind is OutputKind.TEXT
        plan = RoundPlan(
            round_id=RoundId(name),
            kind=kind,
            rule=SEMANTIC if text else PLURALITY,
            dp_floor=FLOOR,
            max_new_tokens=16,
            opens_at=self.clock.now(),
            closes_at=self.clock.now() + timedelta(seconds=600),
            opening_ends_at=self.clock.now() + timedelta(seconds=1_200) if text else None,
            embedder=EMBEDDER if text else None,
        )
        manifest = self.server.open_round(replace(plan, **changes), PROMPTS)
        self.server.advance()
        return manifest

    def state(self, name: str = "round-1") -> str:
        """Where the round stands."""
        return self.server.store.head(RoundId(name)).state

    def events(self) -> list[str]:
        """Types of all log entries but those of keys and rosters."""
        return [kind for kind, _ in self.entries() if not kind.startswith(("key.", "roster."))]

    def entries(self) -> list[tuple[str, Any]]:
        """Type and event of every log entry."""
        return [(entry.event.type.value, entry.event) for entry in self.audit.entries(0, 1_000)]


def votes(*indices: int) -> Payload:
    """A votes payload."""
    return Payload(salt=bytes(32), kind=OutputKind.VOTES, votes=indices or (0, 1, 2, 3, 0, 1))


def answers(*texts: str | None) -> Payload:
    """A text payload."""
    return Payload(salt=bytes(32), kind=OutputKind.TEXT, texts=texts)


def statement_for(name: str, manifest: RoundManifest, payload: Payload, **changes: Any) -> ContributionStatement:
    """The honest statement, without ciphertext digests, with ``changes``."""
    honest = ContributionStatement(
        manifest_digest=manifest.digest,
        federation=manifest.federation,
        round_id=manifest.round_id,
        nonce=manifest.nonce,
        prompt_set_digest=manifest.prompt_set_digest,
        kind=manifest.kind,
        sender=MemberId(name),
        signing_key_id=member(name).keys.signing.key_id,
        recipient_key_id=manifest.recipient_key_id,
        created_at_ms=manifest.opens_at_ms,
        commitment=commit(payload.salt, encode_payload(payload)),
        ciphertext_digests=(),
        item_count=manifest.prompt_count,
        dtype="int16" if manifest.kind is OutputKind.VOTES else "utf-8",
        scale=1,
        privacy=PRIVACY,
        policy_digest=sha256(b"policy"),
        log_checkpoint="none",
    )
    return replace(honest, **changes)


def post(
    name: str,
    manifest: RoundManifest,
    payload: Payload | None = None,
    *,
    plaintext: bytes | None = None,
    signer: str | None = None,
    digests: tuple[Digest, ...] | None = None,
    sealed_for: ContributionStatement | None = None,
    to: SealingKey | None = None,
    **changes: Any,
) -> bytes:
    """A contribution body: honest by default, each argument is one defect."""
    payload = payload if payload is not None else votes()
    unsealed = statement_for(name, manifest, payload, **changes)
    key = to if to is not None else SealingKey.parse(manifest.recipient_key)
    info = statement_info(sealed_for if sealed_for is not None else unsealed)
    blob = seal(plaintext if plaintext is not None else encode_payload(payload), info=info, to=key)
    statement = replace(unsealed, ciphertext_digests=digests if digests is not None else (sha256(blob),))
    return body_of(statement, blob, signer=signer or name)


def bare(body: bytes) -> bytes:
    """The commitment that goes before a contribution: its statement alone."""
    return encode_contribution(replace(parse_contribution(body), sealed=()))


def body_of(statement: ContributionStatement, *blobs: bytes, signer: str) -> bytes:
    """Sign and frame."""
    signed = sign(MessageType.STATEMENT, encode_statement(statement), member(signer).keys.signing)
    return encode_contribution(Contribution(signed, blobs))
