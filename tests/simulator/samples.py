"""One genuine message of every kind, and the check that its receiver puts it through."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from unittest.mock import patch

from semfed_secure.audit.merkle import verify_consistency
from semfed_secure.client import round as client_round
from semfed_secure.client.round import (
    Trust,
    VerifiedReceipt,
    VerifiedRound,
    verify_commitments,
    verify_consensus,
    verify_manifest,
    verify_receipt,
    verify_round,
)
from semfed_secure.client.server_log import verified_checkpoint, verify_commitments_entry, verify_receipt_entry
from semfed_secure.errors import PeerError
from semfed_secure.identity.enrolment import make_request, new_token, read_application
from semfed_secure.identity.member_files import RECORD_FILE
from semfed_secure.identity.records import verify_record
from semfed_secure.identity.roster import verify_roster
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import Outcome, encode_contribution, encode_payload, parse_contribution
from tests.server import judging
from tests.server.world import answers, post, votes
from tests.simulator.members import taken
from tests.simulator.world import FIRST, ROUNDS, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from semfed_secure.client.transport import Transport
    from semfed_secure.ids import Digest

NAMES = ("bay", "hill", "lake")
LONG = 200
"""Runs of bytes from here on are sampled: keys, post-quantum signatures, ciphertexts, cosigned checkpoints."""
SAMPLED_BITS, MOST_BITS = 64, 2_500
"""How many bits of each long run are flipped, and how many at most outside of them: of most messages, every one."""
STEPS = {f"SF3{step:02d}" for step in range(1, 16)}


@dataclass(frozen=True)
class Sample:
    """A message, the check of its receiver, which returns or raises, and the codes that it may raise."""

    data: bytes
    receive: Callable[[bytes], object]
    codes: frozenset[str]
    long: tuple[bytes, ...] = ()

    def places(self, seed: int) -> Iterator[int]:
        """The number of each bit to flip: all outside the long runs, and a seeded sample inside of each."""
        outside = set(range(8 * len(self.data)))
        source = random.Random(seed)
        chosen: set[int] = set()
        for run in self.long:
            start = self.data.index(run)
            inside = range(8 * start, 8 * (start + len(run)))
            outside.difference_update(inside)
            chosen.update(source.sample(inside, SAMPLED_BITS))
        chosen.update(source.sample(sorted(outside), min(MOST_BITS, len(outside))))
        yield from sorted(chosen)


def refusal(receive: Callable[[bytes], object], data: bytes) -> str | None:
    """The code for which a message is refused, or None if it is taken."""
    try:
        receive(data)
    except PeerError as error:
        return error.code
    return None


class Round:
    """A finished round of texts of one world, seen by the member ``bay``, and all that was said in it."""

    def __init__(self, directory: Path, *, names: tuple[str, ...] = NAMES) -> None:
        """Hold the round."""
        self.world = World(directory, names=names, rounds=ROUNDS[:1], kind=OutputKind.TEXT)
        self.world.run()
        self.federation = self.world.federation
        self.root, self.server = self.federation.root, self.federation.context.keys.record
        self.line: Transport = self.federation.transport()
        self.trust = Trust(self.root, "bay", "server", 0, None)  # type: ignore[arg-type]
        self.now = self.world.clock.now()
        self.roster_data, self.manifest_data = self.line.roster(), self.line.manifest(FIRST)
        self.roster = verify_roster(self.roster_data, root=self.root, now=self.now, last_sequence=0)
        self.announced = verify_manifest(
            self.manifest_data, self.roster_data, trust=self.trust, round_id=FIRST, now=self.now
        )
        self.prompts = self.line.prompts(self.announced.manifest.prompt_set_digest)
        self.round: VerifiedRound = verify_round(self.announced, self.prompts, trust=self.trust, now=self.now)
        self.commitments_data, self.consensus_data = self.line.commitments(FIRST), self.line.consensus(FIRST)

    def statement(self, name: str) -> Digest:
        """The digest of what a member sent."""
        return taken(self.world.transcript.posted(end="member", member=name)[0].sent or b"").digest

    def receipt(self, name: str, *, step: int = -1) -> bytes:
        """A member's last receipt; that of its commitment with ``step=0``."""
        return self.world.transcript.posted(end="member", member=name)[step].answered or b""

    def answer(self, data: bytes, *, name: str = "bay", round_: VerifiedRound | None = None) -> VerifiedReceipt:
        """The check of a receipt for what ``name`` opened."""
        return verify_receipt(
            data,
            round_=self.round if round_ is None else round_,
            statement_digest=self.statement(name),
            outcomes={Outcome.ADMITTED, Outcome.REJECTED},
        )

    def entry(self, index: int) -> bytes:
        """An entry of the server's log."""
        return self.line.log_entry(index, self.federation.context.audit.size())

    def close(self) -> None:
        """Remove it."""
        self.world.close()


def of_client(held: Round) -> dict[str, Sample]:
    """What a client receives from a server."""
    now, trust, round_, own = held.now, held.trust, held.round, held.statement("bay")

    def manifest(data: bytes) -> object:
        with patch.object(client_round, "verify_roster", lambda *_, **__: held.roster):  # the roster has its own case
            return verify_manifest(data, held.roster_data, trust=trust, round_id=FIRST, now=now)

    receipt = held.answer(held.receipt("bay"))
    commitments = verify_commitments(held.commitments_data, round_=round_, statement_digest=own)
    at_receipt = verified_checkpoint(receipt.log_checkpoint, held.server)
    at_list = verified_checkpoint(commitments.log_checkpoint, held.server)
    proof = held.line.consistency(at_list.size, at_receipt.size)

    def growth(data: bytes) -> None:
        nodes = tuple(data[at : at + 32] for at in range(0, len(data), 32))
        verify_consistency(
            old_size=at_list.size,
            old_root=at_list.root,
            new_size=at_receipt.size,
            new_root=at_receipt.root,
            proof=nodes,
        )

    def sample(data: bytes, receive: Callable[[bytes], object], *codes: str) -> Sample:
        return Sample(data, receive, frozenset(codes), long_runs(data))

    return {
        "roster": sample(
            held.roster_data, lambda data: verify_roster(data, root=held.root, now=now, last_sequence=0), "SF322"
        ),
        "manifest": sample(held.manifest_data, manifest, "SF324", "SF321"),
        "prompts": sample(held.prompts, lambda data: verify_round(held.announced, data, trust=trust, now=now), "SF327"),
        "receipt": sample(held.receipt("bay"), held.answer, "SF326", "SF321"),
        "receipt's entry": sample(
            held.entry(receipt.log_index), lambda data: verify_receipt_entry(data, receipt, at_receipt), "SF326"
        ),
        "commitments": sample(
            held.commitments_data,
            lambda data: verify_commitments(data, round_=round_, statement_digest=own),
            "SF329",
            "SF321",
        ),
        "commitments' entry": sample(
            held.entry(commitments.log_index),
            lambda data: verify_commitments_entry(data, commitments, at_list),
            "SF329",
        ),
        "consensus": sample(held.consensus_data, lambda data: verify_consensus(data, round_=round_), "SF325", "SF321"),
        "proof of growth": sample(b"".join(proof), growth, "SF328"),
    }


def of_root(held: Round) -> dict[str, Sample]:
    """What a federation root receives from a member."""
    record = (held.federation.site("bay") / "keys" / RECORD_FILE).read_bytes()
    request = make_request(record, new_token(held.world.randomness))
    return {
        "member record": Sample(record, verify_record, frozenset({"SF331"}), long_runs(record)),
        "enrolment": Sample(request, read_application, frozenset({"SF331"}), long_runs(request)),
    }


def of_server() -> dict[str, Sample]:
    """What a server receives from a client; a payload is flipped before it is sealed, by its own sender."""
    texts = answers("heart", None, "lung", "skin", "eye", None)
    ballot = post("bay", judging.manifest_of(judging.VOTES))
    opening = post("bay", judging.manifest_of(judging.TEXT), texts)
    bare = encode_contribution(replace(parse_contribution(opening), sealed=()))
    return {
        "contribution": Sample(ballot, judging.judge, frozenset(STEPS), long_runs(ballot)),
        "commitment": Sample(bare, committed, frozenset(STEPS), long_runs(bare)),
        "opening": Sample(opening, opens, frozenset(STEPS), long_runs(opening)),
        "payload of votes": Sample(
            encode_payload(votes()),
            lambda data: judging.judge(post("bay", judging.manifest_of(judging.VOTES), plaintext=data)),
            frozenset({"SF313", "SF314"}),
        ),
        "payload of texts": Sample(
            encode_payload(texts),
            lambda data: opens(post("bay", judging.manifest_of(judging.TEXT), texts, plaintext=data)),
            frozenset({"SF313", "SF314"}),
        ),
    }


def opens(body: bytes) -> object:
    """All fifteen steps for texts."""
    return judging.judge(body, judging.TEXT)


def committed(body: bytes) -> object:
    """The steps that a commitment goes through."""
    from semfed_secure.server.admission import accept, authenticate, read_contribution
    from semfed_secure.server.round import RoundState

    terms = judging.TEXT.terms
    assert terms is not None
    context = replace(judging.TEXT, terms=replace(terms, state=RoundState.COLLECTING))
    return accept(authenticate(read_contribution(body, context), context), context)


def long_runs(data: bytes) -> tuple[bytes, ...]:
    """The outermost strings of a message that are long and hold no structure of ours."""
    return tuple(_runs(data))


def _runs(data: bytes) -> Iterator[bytes]:
    from semfed_secure.wire.cbor import Limits, decode

    if data.startswith(b"\xd8\x62"):
        data = data[2:]
    try:
        value = decode(data, limits=Limits(max_bytes=1 << 22))
    except PeerError:
        if len(data) >= LONG and data[:1] not in {b"{", b"["}:
            yield data
        return
    yield from _runs_of(value)


def _runs_of(value: object) -> Iterator[bytes]:
    if isinstance(value, str):
        value = value.encode()
        if len(value) >= LONG:
            yield value
    elif isinstance(value, bytes):
        if len(value) >= LONG:
            yield from _runs(value)
    elif isinstance(value, list):
        for each in value:
            yield from _runs_of(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _runs_of(each)
