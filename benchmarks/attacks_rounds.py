"""Rounds with liars among the members, through the real protocol: one federation, one round after the other.

Keys, roster, signed statements, sealing, admission, audit log, consensus and its signature are those of production, and
an honest site of the SDK takes part in each round and verifies what is published. The others' bundles are made in
`attacks_seats.py`, by the same functions, without ledger and policy of their own.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attacks_seats import Questions, Seat
from bundles import PRIVACY

from semfed_secure.clock import SystemClock
from semfed_secure.errors import ConsensusError
from semfed_secure.identity.member_files import load_member_keys
from semfed_secure.ids import MemberId, RoundId, sha256
from semfed_secure.server.admission import RoundTerms
from semfed_secure.server.forming import Ballot, form_consensus
from semfed_secure.server.opening import RoundPlan
from semfed_secure.server.round import RoundState
from semfed_secure.testing import LocalFederation, SiteSettings, TableModel
from semfed_secure.testing.federation import PASSPHRASE
from semfed_secure.units import Mechanism, OutputKind
from semfed_secure.wire.messages import (
    NONCE_BYTES,
    SALT_BYTES,
    Embedder,
    Payload,
    PrivacyFloor,
    encode_payload,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from attacks_strategies import Answers, Scene, Strategy

    from semfed_secure.client.session import Client
    from semfed_secure.consensus import Conduct
    from semfed_secure.crypto.keys import SigningKey
    from semfed_secure.wire.messages import Consensus, ConsensusRule, RoundManifest

FLOOR = PrivacyFloor("Infinity", "0.00001", PRIVACY.unit, PRIVACY.relation, tuple(Mechanism))
TOKENS = 32


@dataclass(frozen=True, slots=True)
class Held:
    """A round that was held.

    Attributes:
        manifest: Its terms.
        consensus: As an honest site verified it; None if there was none.
        admitted: Who was admitted, in the order of the members.
        codes: How the liars were refused, and how often.
        raised: What was raised that is no refusal.
    """

    manifest: RoundManifest
    consensus: Consensus | None
    admitted: tuple[int, ...]
    codes: Counter[str]
    raised: tuple[str, ...]


class Meeting:
    """One federation and its rounds; a copy of one that was founded once."""

    def __init__(self, members: int, questions: Questions) -> None:
        """Copy the founded federation, and open the server and the site that reads along."""
        self.questions = questions
        self.names = tuple(MemberId(f"site-{number:02d}") for number in range(members))
        self._place = Path(tempfile.mkdtemp(prefix="semfed-attacks-"))
        shutil.copytree(_founded(self.names), self._place / "federation")
        self.federation = _federation(self._place / "federation", self.names, questions)
        self._round = 0
        self._terms: RoundManifest | None = None
        self._clients: dict[str, Client] = {}

    def close(self) -> None:
        """Close the database and remove everything."""
        for client in self._clients.values():
            client.close()
        self.federation.close()
        shutil.rmtree(self._place)

    @cached_property
    def keys(self) -> tuple[SigningKey, ...]:
        """Every member's signing key."""
        places = [self.federation.site(name) / "keys" for name in self.names]
        return tuple(load_member_keys(place, PASSPHRASE).signing for place in places)

    def hold(self, rule: ConsensusRule, scene: Scene, answers: Answers, liars: Sequence[int], by: Strategy) -> Held:
        """One round, from its manifest to the consensus that an honest site verifies.

        Args:
            rule: How the consensus is formed.
            scene: What can be known of the round.
            answers: What each member answers, ``(members, prompts)``.
            liars: Which of them lie.
            by: How those behave.
        """
        self._round += 1
        manifest = self._open(rule, scene)
        heard: list[bytes] = []
        seats = [
            Seat(name, key, manifest, self.federation, scene, self.questions.written(row), heard)
            for name, key, row in zip(self.names, self.keys, answers, strict=True)
        ]
        honest = [number for number in range(len(seats)) if number not in set(liars)]
        reading = honest[0]
        joined = self._client(self.names[reading]).join(manifest.round_id)
        outputs = seats[reading].outputs
        if not seats[reading].text:
            outputs = [self.questions.prompts.candidates[vote] for vote in outputs]
        joined.contribute(outputs)
        for number in honest[1:]:
            seats[number].post(seats[number].first)
            heard.append(seats[number].first)
        for number in liars:
            by.collect(seats[number])
        raised = self._close()
        if seats[reading].text:
            _ask(joined)
            for number in honest[1:]:
                seats[number].post(seats[number].whole)
            for number in liars:
                by.opening(seats[number])
            raised += self._close()
        for number in liars:
            by.closed(seats[number])
        found = _ask(joined)
        assert all(set(seats[number].told) <= {"admitted", "committed"} for number in honest[1:])
        admitted = tuple(number for number in range(len(seats)) if by.counted or number in honest)
        assert found is None or found.consensus.admitted_count == len(admitted)
        return Held(
            manifest,
            None if found is None else found.consensus,
            admitted,
            Counter(code for number in liars for code in seats[number].told if code.startswith("SF")),
            (*raised, *(each for seat in seats for each in seat.raised)),
        )

    def form(
        self,
        rule: ConsensusRule,
        scene: Scene,
        answers: Answers,
        liars: Sequence[int],
        by: Strategy,
        earlier: Sequence[Mapping[str, Conduct]],
    ) -> Held:
        """What the server forms of the answers that would be admitted: nothing is sealed, sent or verified."""
        if self._terms is None:
            self._round += 1
            self._terms = self._open(rule, scene)
        manifest = replace(self._terms, rule=rule, nonce=scene.chance.bytes(NONCE_BYTES))
        admitted = tuple(number for number in range(len(answers)) if by.counted or number not in set(liars))
        kind = "texts" if manifest.kind is OutputKind.TEXT else "votes"
        ballots = []
        for number in admitted:
            payload = Payload(
                salt=bytes(SALT_BYTES), kind=manifest.kind, **{kind: self.questions.written(answers[number])}
            )
            ballots.append(Ballot(self.names[number], sha256(bytes([number])), encode_payload(payload)))
        embedder = self.questions.embedder
        formed = form_consensus(
            ballots,
            RoundTerms(manifest, self.questions.prompts, RoundState.CLOSED),
            commitments=None,
            rejections={},
            log_checkpoint=manifest.log_checkpoint,
            embedder=None if embedder is None else lambda: embedder,
            clock=SystemClock(),
            gold=self.questions.gold(scene),
            earlier=earlier,
        )
        return Held(manifest, formed.consensus, admitted, Counter(), ())

    def _open(self, rule: ConsensusRule, scene: Scene) -> RoundManifest:
        now, kind, embedder = SystemClock().now(), self.questions.kind, self.questions.embedder
        text = embedder is not None
        plan = RoundPlan(
            round_id=RoundId(f"round-{self._round}"),
            kind=kind,
            rule=rule,
            dp_floor=FLOOR,
            max_new_tokens=TOKENS,
            opens_at=now,
            closes_at=now + timedelta(hours=1),
            opening_ends_at=now + timedelta(hours=2) if text else None,
            embedder=Embedder(embedder.name, embedder.weights_digest, embedder.dimension) if embedder else None,
            gold=self.questions.gold(scene),
        )
        manifest = self.federation.coordinator.open_round(plan, self.questions.prompts)
        self.federation.coordinator.advance()
        return manifest

    def _client(self, name: MemberId) -> Client:
        """A site of the SDK, opened once."""
        if name not in self._clients:
            settings = SiteSettings(mechanism=Mechanism.UNSAFE_NO_NOISE)
            self._clients[name] = self.federation.client(name, settings=settings, model=TableModel())
        return self._clients[name]

    def _close(self) -> list[str]:
        try:
            state = self.federation.close_round(f"round-{self._round}")
        except Exception as error:  # noqa: BLE001 - that nothing is raised is what the grid shows
            return [f"{type(error).__name__}: {error}"]
        return [] if state in {"opening", "published"} else [f"the round is {state}"]


def _ask(joined: Any) -> Any:
    """The verified consensus, or None while there is none."""
    try:
        return joined.wait_for_consensus()
    except ConsensusError as error:
        if error.code not in {"SF401", "SF402", "SF403"}:
            raise
        return None


def _federation(place: Path, names: tuple[MemberId, ...], questions: Questions | None) -> LocalFederation:
    return LocalFederation(
        place,
        members=names,
        prompt_sets=[] if questions is None else [questions.prompts],
        embedder=None if questions is None else questions.embedder,
        close_when_complete=False,
    )


@cache
def _founded(names: tuple[MemberId, ...]) -> Path:
    """A federation of these members, founded once in a process."""
    place = Path(tempfile.mkdtemp(prefix="semfed-attacks-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    _federation(place / "federation", names, None).close()
    return place / "federation"
