"""Recorded rounds of every released wire version still parse, verify, open, and fit together."""

from __future__ import annotations

import hmac
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from semfed_secure.crypto.key_files import load_opening_key
from semfed_secure.crypto.keys import OpeningKey, Suite
from semfed_secure.crypto.sealing import open_sealed
from semfed_secure.crypto.signing import verify
from semfed_secure.errors import PeerError
from semfed_secure.identity.enrolment import read_application
from semfed_secure.identity.records import Role, verify_record
from semfed_secure.identity.root import FederationRoot
from semfed_secure.identity.roster import verify_roster
from semfed_secure.ids import hex_digest, sha256
from semfed_secure.wire import messages
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.messages import MessageType, commit, statement_info
from semfed_secure.wire.prompts import encode_prompt_set, parse_prompt_set
from tests.vectors.annotate import MESSAGES, annotate

VERSIONS = sorted(path for path in Path(__file__).parent.glob("v*") if path.is_dir())
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(params=VERSIONS, ids=[path.name for path in VERSIONS])
def recorded(request) -> Path:
    """The directory of one recorded round."""
    return request.param


def recordings(directory: Path) -> list[Path]:
    """The recorded files of a version, without their annotations."""
    return [path for path in directory.iterdir() if path.suffix != ".edn"]


def test_there_is_a_recording() -> None:
    """An empty list would prove nothing."""
    assert [path.name for path in VERSIONS] == ["v1"]


def test_a_recorded_round_verifies_from_its_root_to_its_consensus(recorded, tmp_path) -> None:
    """What a member and an auditor would check, step by step, on the recorded bytes alone."""

    def read(name: str) -> bytes:
        return (recorded / name).read_bytes()

    root = FederationRoot.parse(read("federation.root"))
    roster = verify_roster(read("roster"), root=root, now=NOW, last_sequence=5)
    hub = roster.member("hub", role=Role.SERVER, at=NOW)
    north = roster.member("north", role=Role.CLIENT, at=NOW)
    assert verify_record(read("member.record")) == north

    limits = messages.MANIFEST_LIMITS
    manifest = messages.parse_manifest(
        verify(MessageType.MANIFEST, read("manifest"), hub.signing_keys, limits=limits).payload
    )
    assert (manifest.roster_digest, manifest.recipient_key_id) == (roster.digest, hub.sealing_key.key_id)
    prompt_set = parse_prompt_set(read("prompt-set"))
    assert encode_prompt_set(prompt_set) == read("prompt-set")
    assert prompt_set.digest == manifest.prompt_set_digest

    contribution = messages.parse_contribution(read("contribution"))
    limits = messages.STATEMENT_LIMITS
    verified = verify(MessageType.STATEMENT, contribution.statement, north.signing_keys, limits=limits)
    statement = messages.parse_statement(verified.payload)
    assert messages.encode_statement(statement) == verified.payload
    assert (statement.manifest_digest, statement.signing_key_id) == (manifest.digest, verified.key_id)
    (sealed,) = contribution.sealed
    assert statement.ciphertext_digests == (sha256(sealed),)

    private = shutil.copy(recorded / "opening.key", tmp_path)
    Path(private).chmod(0o600)  # version control does not keep it
    key = load_opening_key(Path(private), b"recorded for the tests")
    opened = open_sealed(sealed, info=statement_info(statement), key=key)
    payload = messages.parse_payload(opened)
    assert hmac.compare_digest(commit(payload.salt, opened), statement.commitment)
    assert payload.texts == ("fracture of wrist", None)
    assert messages.parse_payload(read("votes")).votes == (1, -1)

    assert messages.parse_contribution(read("commitment")) == messages.Contribution(contribution.statement, ())
    limits = messages.COMMITMENTS_LIMITS
    commitments = messages.parse_commitments(
        verify(MessageType.COMMITMENTS, read("commitments"), hub.signing_keys, limits=limits).payload
    )
    assert (commitments.manifest_digest, commitments.statements) == (manifest.digest, (statement.digest,))
    limits = messages.RECEIPT_LIMITS
    receipt = messages.parse_receipt(
        verify(MessageType.RECEIPT, read("receipt"), hub.signing_keys, limits=limits).payload
    )
    assert receipt.statement_digest == statement.digest
    limits = messages.CONSENSUS_LIMITS
    consensus = messages.parse_consensus(
        verify(MessageType.CONSENSUS, read("consensus"), hub.signing_keys, limits=limits).payload
    )
    assert consensus.manifest_digest == manifest.digest
    assert [consensus.results[manifest.place_of(name)][0].label for name in ("north", "west")] == [
        "fracture of wrist",
        None,
    ]


def test_the_recorded_bytes_are_what_they_were(recorded) -> None:
    """Whoever changes a recording changes this line too, and has to say why."""
    digests = {path.name: hex_digest(sha256(path.read_bytes())) for path in recordings(recorded)}
    listed = dict(line.split() for line in (recorded.parent / f"{recorded.name}.digests").read_text().splitlines())
    assert digests == listed


def test_every_recording_is_annotated_to_the_last_byte(recorded) -> None:
    """Each file has the notation that its bytes give today, and there is no other notation."""
    names = {path.name for path in recordings(recorded)}
    assert {path.stem for path in recorded.glob("*.edn")} == names
    for name in names:
        written = (recorded / f"{name}.edn").read_text(encoding="utf-8")
        assert written == annotate((recorded / name).read_bytes()), f"record again, or say why {name} reads differently"


def test_every_kind_of_message_is_recorded(recorded) -> None:
    """Each type that is signed stands in some recording of the version, and each table that has a tag."""
    text = "".join(path.read_text(encoding="utf-8") for path in recorded.glob("*.edn"))
    signed = {kind.value for kind in MessageType} - {MessageType.POLICY_BUNDLE.value, MessageType.ENROLMENT.value}
    stored = {"semfed/invitation", "semfed/sealing-context"}  # never sent: kept by the root, sealed under
    assert {tag for tag in signed | set(MESSAGES) - stored if f'/ type / 0: "{tag}"' not in text} == set()


def test_a_recorded_member_of_the_other_suite_applies_and_contributes(recorded) -> None:
    """``nist-p256``: the application verifies with its token's key, the statement and the seal under P-256."""
    applied = read_application((recorded / "enrolment").read_bytes())
    assert (applied.member.member_id, applied.token_key_id is not None) == ("west", True)
    contribution = messages.parse_contribution((recorded / "contribution.nist-p256").read_bytes())
    keys, limits = applied.member.signing_keys, messages.STATEMENT_LIMITS
    verified = verify(MessageType.STATEMENT, contribution.statement, keys, limits=limits)
    statement = messages.parse_statement(verified.payload)
    key = OpeningKey.from_seed(bytes([5] * 32), Suite.NIST_P256)
    opened = open_sealed(contribution.sealed[0], info=statement_info(statement), key=key)
    assert commit(messages.parse_payload(opened).salt, opened) == statement.commitment


def test_messages_of_one_type_are_no_other(recorded) -> None:
    """A recorded signature verifies for its own type only."""
    root = FederationRoot.parse((recorded / "federation.root").read_bytes())
    roster = verify_roster((recorded / "roster").read_bytes(), root=root, now=NOW, last_sequence=0)
    keys = roster.member("hub", role=Role.SERVER, at=NOW).signing_keys
    for kind in (MessageType.MANIFEST, MessageType.COMMITMENTS, MessageType.RECEIPT, MessageType.CONSENSUS):
        data = (recorded / kind.value.removeprefix("semfed/")).read_bytes()
        for other in MessageType:
            if other is kind:
                assert verify(other, data, keys, limits=Limits(max_bytes=1 << 20)).payload
            else:
                with pytest.raises(PeerError, match="SF307"):
                    verify(other, data, keys, limits=Limits(max_bytes=1 << 20))
