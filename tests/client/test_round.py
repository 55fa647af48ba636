"""What a client believes of a server: each step of verification refuses its own defect with its own code."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.client.requirements import require_admissible, require_open
from semfed_secure.client.round import (
    Trust,
    VerifiedManifest,
    VerifiedReceipt,
    VerifiedRound,
    verify_consensus,
    verify_manifest,
    verify_receipt,
    verify_round,
)
from semfed_secure.crypto.keys import OpeningKey, SigningKey, Suite
from semfed_secure.crypto.signing import sign
from semfed_secure.errors import ConsensusError, PeerError
from semfed_secure.identity.member_files import load_member_keys
from semfed_secure.ids import Digest, FederationId, MemberId, RoundId, sha256
from semfed_secure.testing import flipped
from semfed_secure.testing.federation import PASSPHRASE
from semfed_secure.units import Aggregation, Mechanism, OutputKind
from semfed_secure.wire.cose import parse_signed, signed_limits
from semfed_secure.wire.messages import (
    MANIFEST_LIMITS,
    Consensus,
    MessageType,
    Outcome,
    PromptResult,
    PromptStatus,
    Receipt,
    RoundManifest,
    encode_consensus,
    encode_manifest,
    encode_receipt,
    parse_manifest,
)
from semfed_secure.wire.prompts import encode_prompt_set
from tests.client.world import CANDIDATES, NOW, PROMPTS, ROUND, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Scene:
    """One federation's true messages, and the server's key to make false ones that are well signed."""

    def __init__(self, directory: Path) -> None:
        """Found the federation and announce one round."""
        self.world = World(directory)
        self.world.open_round()
        transport = self.world.federation.transport()
        self.manifest_bytes, self.roster = transport.manifest(ROUND), transport.roster()
        self.manifest = parse_manifest(parse_signed(self.manifest_bytes, limits=signed_limits(MANIFEST_LIMITS)).payload)
        self.prompts = transport.prompts(self.manifest.prompt_set_digest)
        self.server = load_member_keys(self.world.federation.directory / "server" / "keys", PASSPHRASE)
        self.trust = Trust(self.world.federation.root, MemberId("bay"), MemberId("server"), 0, None)

    def signed(self, **changes: Any) -> bytes:
        """The manifest with ``changes``, signed by the server."""
        changed = dataclasses.replace(self.manifest, **changes)
        return sign(MessageType.MANIFEST, encode_manifest(changed), self.server.signing)

    def verify(self, manifest: bytes | None = None, roster: bytes | None = None, **changes: Any) -> RoundManifest:
        """`verify_manifest` with one thing changed."""
        now = changes.pop("now", NOW)
        round_id = changes.pop("round_id", ROUND)
        trust = dataclasses.replace(self.trust, **changes)
        manifest = self.manifest_bytes if manifest is None else manifest
        roster = self.roster if roster is None else roster
        return verify_manifest(manifest, roster, trust=trust, round_id=round_id, now=now).manifest

    def round(self) -> VerifiedRound:
        """The verified round."""
        return verify_round(self.announced(), self.prompts, trust=self.trust, now=NOW)

    def announced(self) -> VerifiedManifest:
        """The verified terms."""
        return verify_manifest(self.manifest_bytes, self.roster, trust=self.trust, round_id=ROUND, now=NOW)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """One scene for all: nothing here changes it."""
    return Scene(tmp_path_factory.mktemp("scene"))


def refused(code: str, act: Callable[[], object]) -> PeerError:
    """The act is refused with this code, exit 13."""
    with pytest.raises(PeerError) as caught:
        act()
    assert (caught.value.code, caught.value.exit_code) == (code, 13)
    return caught.value


def test_the_true_messages_verify(scene: Scene) -> None:
    """A round is what the server signed, with the prompts that it named."""
    round_ = scene.round()
    assert round_.prompts == PROMPTS
    assert (round_.server.member_id, round_.member.member_id) == ("server", "bay")
    assert round_.manifest_digest == scene.manifest.digest


def test_step_1_another_root_an_old_or_an_expired_roster_is_refused(scene: Scene) -> None:
    """SF322: wrong threshold keys, an older sequence than one seen, a second roster of one sequence, too late."""
    stranger = dataclasses.replace(scene.trust.root, keys=(SigningKey.generate().public,))
    refused("SF322", lambda: scene.verify(root=stranger))
    refused("SF322", lambda: scene.verify(last_roster_sequence=2))
    refused("SF322", lambda: scene.verify(last_roster_sequence=1, last_roster_digest=Digest(bytes(32))))
    refused("SF322", lambda: scene.verify(now=NOW + timedelta(days=400)))
    refused("SF322", lambda: scene.verify(roster=flipped(scene.roster, 500)))


def test_step_2_a_server_that_is_none_and_an_own_revocation_are_refused(scene: Scene) -> None:
    """SF306: not on the roster, not a server, or we are revoked."""
    refused("SF306", lambda: scene.verify(server_id=MemberId("nobody")))
    refused("SF306", lambda: scene.verify(server_id=MemberId("hill")))
    refused("SF306", lambda: scene.verify(roster=scene.world.federation.sign_roster(2, revoked=["bay"])))
    refused("SF306", lambda: scene.verify(roster=scene.world.federation.sign_roster(2, revoked=["server"])))


@pytest.mark.parametrize("at", [0, 1, 10, 60, 300, -1, -40, -4000])
def test_step_3_a_flipped_bit_of_the_manifest_is_refused(scene: Scene, at: int) -> None:
    """SF324, wherever it is."""
    refused("SF324", lambda: scene.verify(manifest=flipped(scene.manifest_bytes, at)))


def test_step_3_another_member_cannot_announce(scene: Scene) -> None:
    """SF321: well signed, by a client, with a key that is not the server's."""
    other = load_member_keys(scene.world.federation.site("hill") / "keys", PASSPHRASE)
    forged = sign(MessageType.MANIFEST, encode_manifest(scene.manifest), other.signing)
    refused("SF321", lambda: scene.verify(manifest=forged))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"federation": FederationId("elsewhere")}, "SF324"),
        ({"round_id": RoundId("round-2")}, "SF324"),
        ({"roster_sequence": 2}, "SF322"),
        ({"roster_digest": Digest(bytes(32))}, "SF322"),
        ({"recipient_key": bytes(1_300)}, "SF324"),
        ({"recipient_key": OpeningKey.generate(Suite.NIST_P256).public.encode()}, "SF324"),
        ({"kind": OutputKind.EMBEDDING}, "SF324"),
        ({"aggregation": Aggregation.SPLIT}, "SF324"),
    ],
)
def test_steps_4_to_7_a_well_signed_lie_is_refused(scene: Scene, changes: dict[str, Any], code: str) -> None:
    """Another federation, round, roster, recipient or suite to seal to, or a kind that this client does not give."""
    refused(code, lambda: scene.verify(manifest=scene.signed(**changes)))


def test_a_newer_roster_than_the_manifests_is_fine(scene: Scene) -> None:
    """A roster that was published after the round opened counts: whoever is valid on it stays valid."""
    assert scene.verify(roster=scene.world.federation.sign_roster(2)) == scene.manifest


def test_prompts_are_those_of_the_digest(scene: Scene) -> None:
    """SF327 for a flipped bit, for another set, for a count that differs, for votes without candidates."""

    def joined(data: bytes, **changes: Any) -> object:
        announced = dataclasses.replace(scene.announced(), manifest=dataclasses.replace(scene.manifest, **changes))
        return verify_round(announced, data, trust=scene.trust, now=NOW)

    refused("SF327", lambda: joined(flipped(scene.prompts, 30)))
    other = encode_prompt_set(dataclasses.replace(PROMPTS, name="other"))
    refused("SF327", lambda: joined(other))
    refused("SF327", lambda: joined(scene.prompts, prompt_count=5))
    bare = encode_prompt_set(dataclasses.replace(PROMPTS, candidates=()))
    refused("SF327", lambda: joined(bare, prompt_set_digest=sha256(bare)))
    refused("SF327", lambda: joined(b"no prompts", prompt_set_digest=sha256(b"no prompts")))


def test_open_means_from_opening_to_closing(scene: Scene) -> None:
    """SF401 before, SF404 from the closing instant on."""
    require_open(scene.manifest, NOW)
    require_open(scene.manifest, NOW + timedelta(seconds=599.999))
    for seconds, code in ((-0.001, "SF401"), (600, "SF404")):
        with pytest.raises(ConsensusError) as caught:
            require_open(scene.manifest, NOW + timedelta(seconds=seconds))
        assert caught.value.code == code


def test_a_round_that_would_not_admit_us_is_refused(scene: Scene) -> None:
    """SF310 one step above each limit of the floor, nothing at it."""
    floor = dataclasses.replace(
        scene.manifest.dp_floor, max_epsilon="8", max_delta="0.00001", mechanisms=(Mechanism.DP_SGD,)
    )
    manifest = dataclasses.replace(scene.manifest, dp_floor=floor)
    at_limit = {"mechanism": Mechanism.DP_SGD, "epsilon": Decimal(8), "delta": Decimal("0.00001")}
    require_admissible(manifest, **at_limit)  # type: ignore[arg-type]
    for change in (
        {"epsilon": Decimal("8.000001")},
        {"delta": Decimal("0.0000101")},
        {"mechanism": Mechanism.UNSAFE_NO_NOISE},
    ):
        refused("SF310", lambda change=change: require_admissible(manifest, **at_limit | change))  # type: ignore[misc]


# -- receipts and consensus ---------------------------------------------------------------------------------

STATEMENT = sha256(b"statement")


def receipt(**changes: Any) -> Receipt:
    """An admission of `STATEMENT`."""
    honest = Receipt(
        statement_digest=STATEMENT,
        round_id=ROUND,
        outcome=Outcome.ADMITTED,
        code=None,
        log_index=0,
        log_checkpoint="x",
        inclusion_proof=(),
    )
    return dataclasses.replace(honest, **changes)


def test_a_receipt_is_for_this_statement_of_this_round(scene: Scene) -> None:
    """SF326 for another statement, another round, a flipped bit, another kind of message; SF321 for another signer."""

    def taken(one: Receipt, key: SigningKey | None = None, kind: MessageType = MessageType.RECEIPT) -> bytes:
        return sign(kind, encode_receipt(one), key if key is not None else scene.server.signing)

    def verified(data: bytes) -> VerifiedReceipt:
        outcomes = {Outcome.ADMITTED, Outcome.REJECTED}
        return verify_receipt(data, round_=scene.round(), statement_digest=STATEMENT, outcomes=outcomes)

    found = verified(taken(receipt()))
    assert {name: getattr(found, name) for name in Receipt.__slots__} == dataclasses.asdict(receipt())
    refused("SF326", lambda: verified(taken(receipt(statement_digest=sha256(b"other")))))
    refused("SF326", lambda: verified(taken(receipt(round_id=RoundId("round-2")))))
    refused("SF326", lambda: verified(taken(receipt(outcome=Outcome.COMMITTED))))
    refused("SF321", lambda: verified(taken(receipt(), key=SigningKey.generate())))
    refused("SF326", lambda: verified(taken(receipt(), kind=MessageType.CONSENSUS)))
    refused("SF326", lambda: verified(flipped(taken(receipt()), 40)))


AGREED = PromptResult(PromptStatus.AGREED, CANDIDATES[0], 600_000, 200_000)
CONTESTED = PromptResult(PromptStatus.CONTESTED, None, 400_000, 0)


def consensus(scene: Scene, **changes: Any) -> bytes:
    """A consensus with ``changes``, signed by the server."""
    honest = Consensus(
        manifest_digest=scene.manifest.digest,
        round_id=ROUND,
        results=((AGREED, CONTESTED, AGREED, AGREED, AGREED, AGREED),),
        batch_root=Digest(bytes(32)),
        commitments_root=Digest(bytes(32)),
        admitted_counts=(3,),
        rejections=(),
        log_checkpoint="x",
    )
    return sign(MessageType.CONSENSUS, encode_consensus(dataclasses.replace(honest, **changes)), scene.server.signing)


def test_a_true_consensus_verifies(scene: Scene) -> None:
    """Signed, of this manifest, one possible result per prompt."""
    assert verify_consensus(consensus(scene), round_=scene.round()).results[1] == CONTESTED


@pytest.mark.parametrize(
    "changes",
    [
        {"manifest_digest": Digest(bytes(32))},
        {"round_id": RoundId("round-2")},
        {"results": ((AGREED,) * 5,)},
        {"results": ((AGREED,) * 7,)},
        {"results": ((dataclasses.replace(AGREED, label="liver"),) + (CONTESTED,) * 5,)},
        {"results": ((dataclasses.replace(AGREED, support_ppm=499_999),) + (CONTESTED,) * 5,)},
        {"results": ((dataclasses.replace(AGREED, margin_ppm=0),) + (CONTESTED,) * 5,)},
        {"admitted_counts": (1,)},
    ],
)
def test_a_consensus_that_cannot_be_true_is_refused(scene: Scene, changes: dict[str, Any]) -> None:
    """SF325 although it is well signed: wrong round, wrong number, no candidate, support below the rule, too few."""
    refused("SF325", lambda: verify_consensus(consensus(scene, **changes), round_=scene.round()))


@pytest.mark.parametrize("at", [0, 5, 100, 250, -1, -3000])
def test_a_flipped_bit_of_the_consensus_is_refused(scene: Scene, at: int) -> None:
    """SF325, wherever it is."""
    refused("SF325", lambda: verify_consensus(flipped(consensus(scene), at), round_=scene.round()))
