"""A member's place in one round of the attack grid: what it is asked, and the bundles it can make and send.

Bundles are committed to, sealed and signed by the functions of production, whatever is in them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import cbor2
from attacks_strategies import WORDINGS
from bundles import bundle

from semfed_secure.errors import PeerError
from semfed_secure.units import OutputKind
from semfed_secure.wire.cose import parse_signed, signed_limits
from semfed_secure.wire.messages import (
    RECEIPT_LIMITS,
    SALT_BYTES,
    Payload,
    contribution_limits,
    encode_contribution,
    encode_payload,
    parse_receipt,
)

if TYPE_CHECKING:
    from attacks_strategies import Answers, Scene

    from semfed_secure.crypto.keys import SigningKey
    from semfed_secure.ids import MemberId
    from semfed_secure.server.embedder import Embedder
    from semfed_secure.testing import LocalFederation
    from semfed_secure.wire.messages import RoundManifest
    from semfed_secure.wire.prompts import PromptSet


class Bundle(NamedTuple):
    """A finished contribution: what is sent first (of texts, the commitment), and all of it."""

    first: bytes
    whole: bytes


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked, and how answers are written down.

    Attributes:
        prompts: The prompt set; a vote names a candidate by its meaning.
        texts: Of a round of texts, every wording of every meaning of every prompt, and the constant answer behind them.
        embedder: Of a round of texts.
    """

    prompts: PromptSet
    texts: tuple[tuple[tuple[str, ...], ...], ...] = ()
    embedder: Embedder | None = None

    @property
    def kind(self) -> OutputKind:
        """What members answer."""
        return OutputKind.TEXT if self.texts else OutputKind.VOTES

    def written(self, answers: Answers) -> tuple[Any, ...]:
        """One member's answers as its outputs."""
        if not self.texts:
            return tuple(int(answer) // WORDINGS for answer in answers)
        return tuple(row[int(a) // WORDINGS][int(a) % WORDINGS] for row, a in zip(self.texts, answers, strict=True))

    def gold(self, scene: Scene) -> dict[str, str]:
        """The right answers to the gold prompts, as the server's operator writes them."""
        right = self.written(scene.truth * WORDINGS)
        labels = right if self.texts else [self.prompts.candidates[vote] for vote in right]
        return {self.prompts.prompts[place].id: labels[place] for place in scene.gold}

    def meaning(self, prompt: int, label: str) -> int:
        """What a label of a prompt means."""
        if not self.texts:
            return self.prompts.candidates.index(label)
        return next(place for place, texts in enumerate(self.texts[prompt]) if label in texts)


@dataclass
class Seat:
    """A member's place in one round: its finished bundles, and what it was told."""

    member: MemberId
    key: SigningKey
    manifest: RoundManifest
    federation: LocalFederation
    scene: Scene
    outputs: tuple[Any, ...]
    heard: list[bytes]
    told: list[str] = field(default_factory=list)
    raised: list[str] = field(default_factory=list)
    _made: dict[str, Bundle] = field(default_factory=dict)

    @property
    def text(self) -> bool:
        """Whether texts are asked for."""
        return self.manifest.kind is OutputKind.TEXT

    @property
    def largest(self) -> int:
        """The bytes that the largest body of this round may have."""
        return contribution_limits(self.manifest.kind, self.manifest.prompt_count).max_bytes

    @property
    def first(self) -> bytes:
        """Its own answers: of texts, the commitment to them."""
        return self._own().first

    @property
    def whole(self) -> bytes:
        """Its own answers."""
        return self._own().whole

    def another(self) -> Bundle:
        """Other answers: its own in reverse."""
        turned = self.outputs[::-1] if not self.text else (None, *self.outputs[1:])
        return self._bundle("another", encode_payload(self._payload(turned)))

    def endless(self) -> Bundle:
        """Its own answers, one of them longer than the round's decoding can make."""
        return self._bundle("endless", encode_payload(self._payload(("word " * 300 + "end", *self.outputs[1:]))))

    def holding(self, fields: dict[int, Any]) -> Bundle:
        """A payload with other fields in the place of its answers, committed to, sealed and signed like any other."""
        plain = cbor2.loads(encode_payload(self._payload(self.outputs)))
        return self._bundle(f"holding {len(str(fields))}", cbor2.dumps(plain | fields, canonical=True))

    def post(self, body: bytes) -> None:
        """Send, and note the receipt's outcome or the refusal's code; anything else that is raised is noted too."""
        try:
            receipt = self.federation.transport().post(self.manifest.round_id, body)
        except PeerError as error:
            self.told.append(str(error.fields.get("server_code") or error.code))
        except Exception as error:  # noqa: BLE001 - that nothing else is raised is what the grid shows
            self.raised.append(f"{type(error).__name__}: {error}")
        else:
            said = parse_receipt(parse_signed(receipt, limits=signed_limits(RECEIPT_LIMITS)).payload)
            self.told.append(said.code or said.outcome.value)

    def _own(self) -> Bundle:
        return self._made.get("own") or self._bundle("own", encode_payload(self._payload(self.outputs)))

    def _payload(self, outputs: tuple[Any, ...]) -> Payload:
        salt = self.scene.chance.bytes(SALT_BYTES)
        return Payload(salt=salt, kind=self.manifest.kind, **{"texts" if self.text else "votes": outputs})

    def _bundle(self, name: str, plaintext: bytes) -> Bundle:
        if name not in self._made:
            salt = cbor2.loads(plaintext)[2]
            whole = bundle(self.member, self.key, self.manifest, salt, plaintext)
            first = replace(whole, sealed=()) if self.text else whole
            self._made[name] = Bundle(encode_contribution(first), encode_contribution(whole))
        return self._made[name]
