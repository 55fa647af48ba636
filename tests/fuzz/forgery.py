"""A contribution with defects that its own member made: mutated first, then sealed and signed again.

Every defect says at which step of `semfed_secure.server.admission` it must be refused, so that an input is not only
asked whether it breaks the server, but whether the server breaks its own list.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from semfed_secure.crypto.sealing import seal
from semfed_secure.crypto.signing import sign
from semfed_secure.ids import MemberId, sha256
from semfed_secure.units import Mechanism, OutputKind, PrivacyUnit, Relation
from semfed_secure.wire.cbor import encode
from semfed_secure.wire.messages import (
    Contribution,
    ContributionStatement,
    MessageType,
    commit,
    encode_contribution,
    encode_statement,
    statement_info,
)
from tests.fuzz import admission_world as world
from tests.fuzz.mutate import mutate_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fuzz.draw import Draw

FREE = 99
"""The content is whatever was drawn: step 14 or 15 may refuse it."""
_UNREADABLE = 12.5
"""A payload that does not decode is refused as step 14, but before its commitment is compared."""
_GATED = ("SSN 123-45-6789", "mail bob@example.com", "card 4111 1111 1111 1111", "a\0b", "\u202eabc", " ", "x" * 900)
_PLAIN = ("fracture of wrist", "zwei\nZeilen", "心臓", "chest pain", "x" * 700)


class Stage(Enum):
    """What a round is doing when the contribution comes."""

    VOTES = auto()
    COMMITTING = auto()
    OPENING = auto()

    @property
    def kind(self) -> OutputKind:
        """What is asked for."""
        return OutputKind.VOTES if self is Stage.VOTES else OutputKind.TEXT


@dataclass
class Forgery:
    """A contribution in the making; ``broken`` collects the steps that must refuse it."""

    stage: Stage
    statement: ContributionStatement
    fields: dict[int, Any]
    plaintext: bytes | None = None
    commitment: bytes | None = None
    context_of: ContributionStatement | None = None
    sealed_to: Any = world.HUB_KEY
    signer: Any = world.SIGNER
    standing: bytes | None = None
    on_blob: list[Callable[[bytes], bytes]] = field(default_factory=list)
    on_posted: list[Callable[[tuple[bytes, ...]], tuple[bytes, ...]]] = field(default_factory=list)
    digests: Callable[[tuple[bytes, ...]], tuple[bytes, ...]] | None = None
    copies: int = 1
    broken: set[float] = field(default_factory=set)

    @property
    def kind(self) -> OutputKind:
        """What the round asks for."""
        return self.stage.kind

    def say(self, step: float, **changes: Any) -> None:
        """Change the statement; ``step`` must notice."""
        self.statement = replace(self.statement, **changes)
        self.broken.add(step)

    def body(self) -> tuple[bytes, ContributionStatement, bytes]:
        """The post, its statement and its plaintext: committed, sealed and signed like an honest one."""
        plaintext = self.plaintext if self.plaintext is not None else encode(self.fields)
        commitment = right = commit(self.fields[2], plaintext)
        if self.commitment is not None:
            # A fuzzer that watches comparisons learns the right one.
            commitment = self.commitment if self.commitment != right else bytes(byte ^ 1 for byte in right)
        unsealed = replace(self.statement, commitment=commitment)
        blob = seal(plaintext, info=statement_info(self.context_of or unsealed), to=self.sealed_to.public)
        for change in self.on_blob:
            blob = change(blob)
        blobs = (blob,) * self.copies
        digests = tuple(sha256(each) for each in blobs)
        said = replace(unsealed, ciphertext_digests=self.digests(digests) if self.digests else digests)
        for change in self.on_posted:
            blobs = change(blobs)
        signed = sign(MessageType.STATEMENT, encode_statement(said), self.signer)
        return (
            encode_contribution(Contribution(signed, () if self.stage is Stage.COMMITTING else blobs)),
            said,
            plaintext,
        )


def _another(draw: Draw, honest: bytes) -> bytes:
    drawn = draw.octets(len(honest))
    return drawn if drawn != honest else bytes(byte ^ 1 for byte in honest)


def _flipped(place: int) -> Callable[[bytes], bytes]:
    def change(blob: bytes) -> bytes:
        at = place % len(blob)
        return blob[:at] + bytes([blob[at] ^ (1 + place % 255)]) + blob[at + 1 :]

    return change


def _elsewhere(made: Forgery, draw: Draw) -> None:
    made.say(4, **draw.one_of(({"federation": "banks"}, {"round_id": "round-8"})))


def _other_terms(made: Forgery, draw: Draw) -> None:
    name = draw.one_of(("manifest_digest", "nonce", "prompt_set_digest", "kind"))
    if name == "kind":
        made.say(5, kind=draw.one_of([kind for kind in OutputKind if kind is not made.statement.kind]))
    else:
        made.say(5, **{name: _another(draw, getattr(made.statement, name))})


def _other_sender(made: Forgery, draw: Draw) -> None:
    name = draw.one_of(("hub", "nobody", "south"))
    made.say(7 if name == "south" else 6, sender=MemberId(name))


def _other_signer(made: Forgery, draw: Draw) -> None:
    if draw.below(2):
        made.signer = world.STRANGER
    else:
        made.statement = replace(made.statement, signing_key_id=world.STRANGER.key_id)
    made.broken.add(7)


def _other_recipient(made: Forgery, draw: Draw) -> None:
    if draw.below(2):
        made.copies = 2
        made.broken.add(8)
    else:
        made.say(8, recipient_key_id=world.OTHER_KEY.key_id)


def _second(made: Forgery, draw: Draw) -> None:
    """Something else of this member stands; while texts are opened, it is what may be opened."""
    made.standing = draw.octets(32)
    made.broken.add(4 if made.stage is Stage.OPENING else 9)


_TRUE = ({}, {"noise_multiplier": "50", "sample_rate": "0.01", "steps": "1"})
_FALSE = (
    {"noise_multiplier": "0.5", "sample_rate": "1", "steps": "1000"},  # costs more than any epsilon that is drawn
    {"noise_multiplier": "50", "sample_rate": "0.01"},
    {"noise_multiplier": "nan", "sample_rate": "0.01", "steps": "1"},
    {"sigma": "50"},
)
"""Parameters that epsilons from 7 up pay for, and parameters that none does."""


def _declared(made: Forgery, draw: Draw) -> None:
    """Privacy above and below the floor of epsilon 8 and delta 0.00001, judged by other words than the server's."""
    epsilon = draw.one_of(("7.84", "8", "8.000", "8.0000001", "0", "100000000", "Infinity", "7.9999999999"))
    delta = draw.one_of(("0.00001", "0.000009", "0.0000100000000000000001", "1", "0"))
    unit, relation = draw.one_of(tuple(PrivacyUnit)), draw.one_of(tuple(Relation))
    mechanism = draw.one_of(tuple(Mechanism))
    accountant = draw.one_of(("rdp", "rdp", "gdp", draw.text(8)))
    parameters = draw.one_of((*_TRUE, *_FALSE))
    meets = epsilon in {"7.84", "8", "8.000", "7.9999999999"} or (epsilon == "0" and not parameters)
    meets = meets and delta in {"0.00001", "0.000009"} and accountant == "rdp" and parameters in _TRUE
    meets = meets and unit in {PrivacyUnit.ENTITY, PrivacyUnit.ORGANISATION}
    meets = meets and relation is Relation.ADD_OR_REMOVE_ONE and mechanism is Mechanism.DP_SGD
    declared = replace(
        made.statement.privacy,
        epsilon=Decimal(epsilon),
        delta=Decimal(delta),
        unit=unit,
        relation=relation,
        mechanism=mechanism,
        accountant=accountant,
        parameters=parameters,
    )
    made.statement = replace(made.statement, privacy=declared)
    made.broken -= {10}
    if not meets:
        made.broken.add(10)


def _other_blob(made: Forgery, draw: Draw) -> None:
    way = draw.below(4)
    if way == 0:
        made.on_posted.append(lambda blobs: (*blobs[:-1], _flipped(draw.below(1 << 16))(blobs[-1])))
    elif way == 1:
        made.on_posted.append(lambda blobs: (blobs * 2)[:2] if len(blobs) == 1 else blobs[:1])
    elif way == 2:
        made.on_posted.append(lambda _blobs: (b"x" + draw.some(80),))
    else:
        made.digests = lambda digests: tuple(_another(draw, digest) for digest in digests)
    made.broken.add(11)


def _unopenable(made: Forgery, draw: Draw) -> None:
    way = draw.below(5)
    if way == 0:
        made.on_blob.append(_flipped(draw.below(1 << 16)))
    elif way == 1:
        size = draw.below(1 << 11)
        made.on_blob.append(lambda blob: blob[: max(1, min(size, len(blob) - 1))])
    elif way == 2:
        made.sealed_to = world.OTHER_KEY
    elif way == 3:
        # For the statement of another member: sealed before the last change to what is signed.
        made.context_of = replace(made.statement, commitment=bytes(32))
    else:
        made.on_blob.append(lambda blob: blob + b"\0" + draw.some(16))
    made.broken.add(12)


def _other_commitment(made: Forgery, draw: Draw) -> None:
    made.commitment = _another(draw, bytes(32))
    made.broken.add(13)


def _unreadable(made: Forgery, draw: Draw) -> None:
    """A plaintext that is no payload, or only nearly one."""
    made.plaintext = draw.one_of((b"", draw.some(60), encode(made.fields) + b"\0", encode({**made.fields, 1: 2})))
    made.broken.add(_UNREADABLE)


def _tree(made: Forgery, draw: Draw) -> None:
    """A payload changed anywhere in its tree; what that breaks is the server's to say."""
    honest = encode(made.fields)
    changed = mutate_tree(honest, int.from_bytes(draw.octets(4), "big"))
    if changed is not None and changed != honest:
        made.plaintext = changed
        made.broken.add(FREE)


def _shape(made: Forgery, draw: Draw) -> None:
    way = draw.below(5)
    if way == 0:
        made.say(14, item_count=draw.one_of((1, 3, 20_000)))
    elif way == 1:
        made.say(14, scale=2 + draw.below(30_000))
    elif way == 2:
        made.say(14, dtype="utf-8" if made.kind is OutputKind.VOTES else "int16")
    elif way == 3:
        other = OutputKind.TEXT if made.kind is OutputKind.VOTES else OutputKind.VOTES
        made.fields = {**made.fields, **payload_fields(other)}
        made.broken.add(14)
    else:
        _counted(made, draw)


def _counted(made: Forgery, draw: Draw) -> None:
    """Too few or too many outputs, or votes for candidates that are none."""
    if made.kind is OutputKind.VOTES:
        # The first prompt has two candidates, the second two of its own.
        made.fields[4] = draw.one_of((b"\0\0", bytes(6), b"\2\0\0\0", b"\0\0\2\0", b"\xe7\3\0\0"))
    else:
        made.fields[5] = ["one"] * draw.one_of((1, 3, 20))
    made.broken.add(14)


def _content(made: Forgery, draw: Draw) -> None:
    if made.kind is not OutputKind.TEXT:
        made.fields[4] = draw.one_of((b"\0\0\1\0", b"\xff\xff\xff\xff", b"\1\0\0\0"))
        return
    way = draw.below(3)
    if way == 0:
        made.fields[5] = [draw.one_of(_PLAIN), draw.one_of((None, *_PLAIN))]
    elif way == 1:
        made.fields[5] = [draw.one_of((None, *_PLAIN)), draw.one_of(_GATED)]
        made.broken.add(15)
    else:
        made.fields[5] = [draw.text(120), draw.text(60)]
        made.broken.add(FREE)


def _harmless(made: Forgery, draw: Draw) -> None:
    """What a member may say as it likes."""
    made.fields[2] = draw.octets(32)
    made.statement = replace(
        made.statement,
        created_at_ms=draw.below(1 << 40),
        policy_digest=draw.octets(32),
        log_checkpoint=draw.text(200),
    )


DEFECTS: tuple[Callable[[Forgery, Draw], None], ...] = (
    _harmless, _content, _shape, _tree, _declared, _other_commitment, _unreadable, _unopenable, _other_blob, _second,
    _other_recipient,
)  # fmt: skip
"""Steps 8 to 15, the deepest first: an input of zeros is honest."""
_EARLY = (_other_signer, _other_sender, _other_terms, _elsewhere)
_OF_THE_PAYLOAD = {_content, _shape, _tree, _unreadable}


def payload_fields(kind: OutputKind) -> dict[int, Any]:
    """The fields of an honest payload, as they stand on the wire."""
    payload = world.PAYLOADS[kind]
    votes = b"".join(vote.to_bytes(2, "little", signed=True) for vote in payload.votes)
    return {0: "semfed/payload", 1: 1, 2: payload.salt, 3: kind.value, 4: votes, 5: list(payload.texts)}


def draw_forgery(draw: Draw) -> Forgery:
    """The contribution that an input stands for."""
    stage = draw.one_of(tuple(Stage))
    made = Forgery(stage, world.statement(stage.kind), payload_fields(stage.kind))
    left = [*DEFECTS, *_EARLY] if draw.below(8) == 7 else list(DEFECTS)
    for _ in range(draw.below(4)):
        defect = draw.one_of(left)
        # One of a kind: two changes of the same place could undo each other.
        left = [each for each in left if each is not defect and not {each, defect} <= _OF_THE_PAYLOAD]
        defect(made, draw)
    return made
