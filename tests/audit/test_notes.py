"""Signed notes, checkpoints and proof files: the C2SP formats, and nothing that only looks like them."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.audit import merkle, notes
from semfed_secure.audit.merkle import EMPTY_ROOT, leaf_hash
from semfed_secure.audit.notes import Checkpoint, LogProof
from semfed_secure.crypto.log_keys import LogSigningKey, LogVerificationKey
from semfed_secure.errors import PeerError

KEY = LogSigningKey("hospitals.example/north", b"\x01" * 32, b"\x02" * 32)
CHECKPOINT = Checkpoint(KEY.name, 5, leaf_hash(b"root"))
NOTE = notes.sign_checkpoint(CHECKPOINT, KEY, cosigned_at=1_700_000_000)

# The worked example of the C2SP signed-note specification.
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n"
    "\N{EM DASH} example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)


def test_the_example_of_the_specification_verifies() -> None:
    """The note printed in signed-note is read, and its signature is good under the key printed there."""
    key = LogVerificationKey.parse(SPEC_KEY)
    note = notes.parse_note(SPEC_NOTE)
    key.verify_ed25519(note.signatures[0].signature, note.text.encode())
    assert note.encoded == SPEC_NOTE
    assert note.signatures[0].key_id.hex() == "530d903a"


def test_a_checkpoint_has_the_bytes_of_the_specification() -> None:
    """Origin, size and root stand on three lines, and the signature lines follow an empty one."""
    lines = NOTE.split("\n")
    assert lines[:4] == [KEY.name, "5", base64.b64encode(CHECKPOINT.root).decode(), ""]
    assert [line.startswith(f"\N{EM DASH} {KEY.name} ") for line in lines[4:]] == [True, True, False]
    raw = [base64.b64decode(line.rpartition(" ")[2]) for line in lines[4:6]]
    assert [len(value) for value in raw] == [4 + 64, 4 + 8 + 2420]
    assert struct.unpack(">Q", raw[1][4:12]) == (1_700_000_000,)


def test_the_cosigned_message_has_the_bytes_of_the_specification() -> None:
    """The ML-DSA-44 signature is over `cosigned_message`, field by field."""
    raw = base64.b64decode(NOTE.split("\n")[5].rpartition(" ")[2])
    name = KEY.name.encode()
    message = b"".join(
        [
            b"subtree/v1\n\x00",  # label[12]
            bytes([len(name)]) + name,  # cosigner_name<1..2^8-1>
            (1_700_000_000).to_bytes(8, "big"),  # timestamp
            bytes([len(name)]) + name,  # log_origin<1..2^8-1>
            bytes(8),  # start
            (5).to_bytes(8, "big"),  # end
            CHECKPOINT.root,  # hash[32]
        ]
    )
    KEY.public.verify_mldsa44(raw[12:], message)


def test_a_signed_checkpoint_verifies() -> None:
    """Both signatures are checked, and what was signed is returned."""
    verified = notes.verify_checkpoint(NOTE, KEY.public)
    assert (verified.checkpoint, verified.cosigned_at, verified.others) == (CHECKPOINT, 1_700_000_000, 0)
    plain = notes.sign_checkpoint(CHECKPOINT, KEY, cosigned_at=None)
    assert notes.verify_checkpoint(plain, KEY.public).cosigned_at is None


def test_signatures_of_others_are_counted_not_trusted() -> None:
    """A witness may add its line; it neither helps nor harms what the log signed."""
    witness = notes.NoteSignature("witness.example", b"abcd", b"x" * 72)
    verified = notes.verify_checkpoint(NOTE + witness.line, KEY.public)
    assert (verified.checkpoint, verified.others) == (CHECKPOINT, 1)


@given(st.integers(0, len(NOTE.encode()) - 1), st.integers(0, 7))
def test_any_flipped_bit_of_a_signed_checkpoint_is_noticed(place: int, bit: int) -> None:
    """A flipped bit is refused, or turns the cosignature into a stranger's line, which is told apart."""
    raw = bytearray(NOTE.encode())
    raw[place] ^= 1 << bit
    try:
        changed = notes.verify_checkpoint(raw.decode(), KEY.public)
    except (PeerError, UnicodeDecodeError):
        return
    assert (changed.cosigned_at, changed.others) == (None, 1)
    assert changed.checkpoint == CHECKPOINT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text\n",
        "\n\n",
        "text\n\n",
        f"text\n\n- {KEY.name} AAAAAAA=\n",
        "text\n\n\N{EM DASH} name AAAAAAA=",
        "text\n\n\N{EM DASH} name AAAA\n",
        "text\n\n\N{EM DASH} name AAAAAAB=\n",
        "text\n\n\N{EM DASH}  AAAAAAA=\n",
        "text\n\n\N{EM DASH} a+b AAAAAAA=\n",
        "te\rxt\n\n\N{EM DASH} name AAAAAAA=\n",
        "text\n\n" + "\N{EM DASH} name AAAAAAA=\n" * 17,
        "x" * notes.MAX_NOTE_BYTES + "\n\n\N{EM DASH} name AAAAAAA=\n",
    ],
)
def test_what_is_no_note_is_refused(text: str) -> None:
    """Missing parts, other dashes, loose base64, control characters and floods get one code."""
    with pytest.raises(PeerError) as caught:
        notes.parse_note(text)
    assert caught.value.code == "SF328"


@pytest.mark.parametrize(
    "text",
    [
        "origin\n5\n",
        "origin\n5\nAAAA\n",
        "\n5\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "origin\n05\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "origin\n-5\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "origin\n\N{ARABIC-INDIC DIGIT FIVE}\n" + base64.b64encode(bytes(32)).decode() + "\n",
        f"origin\n{2**63}\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "origin\n5\n" + base64.b64encode(bytes(32)).decode() + "\nextension\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    """Sizes have one form, roots have 32 bytes, and extension lines are not taken."""
    with pytest.raises(PeerError) as caught:
        notes.parse_checkpoint(text)
    assert caught.value.code == "SF328"


def test_another_logs_key_does_not_verify() -> None:
    """The name alone, or the key alone, is not enough."""
    same_name = LogSigningKey(KEY.name, b"\x03" * 32, b"\x02" * 32)
    same_keys = LogSigningKey("hospitals.example/south", b"\x01" * 32, b"\x02" * 32)
    for other in (same_name, same_keys):
        with pytest.raises(PeerError) as caught:
            notes.verify_checkpoint(NOTE, other.public)
        assert caught.value.code == "SF328"


def test_a_bad_cosignature_is_not_ignored() -> None:
    """A line under the log's own ML-DSA-44 key must be good, short or timeless ones included."""
    note = notes.parse_note(NOTE)
    for signature in (note.signatures[1].signature[:-1], b"x" * 8, b"\xff" * 2428):
        bad = notes.NoteSignature(KEY.name, note.signatures[1].key_id, signature)
        with pytest.raises(PeerError):
            notes.verify_checkpoint(notes.Note(note.text, (note.signatures[0], bad)).encoded, KEY.public)


def test_a_signature_may_not_stand_twice() -> None:
    """Repeating a signature line is not a way to make another note of the same worth."""
    note = notes.parse_note(NOTE)
    for repeated in note.signatures:
        with pytest.raises(PeerError):
            notes.verify_checkpoint(notes.Note(note.text, (*note.signatures, repeated)).encoded, KEY.public)


def test_a_log_signs_its_own_origin_only() -> None:
    """A checkpoint of another origin is a programming error, not a note."""
    with pytest.raises(ValueError, match="own origin"):
        notes.sign_checkpoint(Checkpoint("other", 0, EMPTY_ROOT), KEY, cosigned_at=None)


def _proof_of(index: int, size: int) -> tuple[str, list[bytes]]:
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    frontier = merkle.Frontier()
    hashes = {(0, number): leaf for number, leaf in enumerate(leaves)}
    for leaf in leaves:
        hashes.update(frontier.add(leaf))
    note = notes.sign_checkpoint(Checkpoint(KEY.name, size, frontier.root()), KEY, cosigned_at=1)
    path = merkle.prove(merkle.inclusion_ranges(index, size), hashes)
    return LogProof(index, path, note).encoded, leaves


@pytest.mark.parametrize(("index", "size"), [(0, 1), (3, 7), (6, 7), (63, 64)])
def test_a_proof_file_verifies_for_its_entry(index: int, size: int) -> None:
    """One text file and the log's key are enough to check an entry, and fail for another entry."""
    text, leaves = _proof_of(index, size)
    assert text.startswith(f"c2sp.org/tlog-proof@v1\nindex {index}\n")
    assert notes.parse_log_proof(text).encoded == text
    assert notes.verify_log_proof(text, leaf=leaves[index], key=KEY.public).checkpoint.size == size
    with pytest.raises(PeerError):
        notes.verify_log_proof(text, leaf=leaf_hash(b"other"), key=KEY.public)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v1\n\nnote",
        "c2sp.org/tlog-proof@v2\nindex 1\n\nnote",
        "c2sp.org/tlog-proof@v1\nextra AAA\nindex 1\n\nnote",
        "c2sp.org/tlog-proof@v1\nindex 01\n\nnote",
        "c2sp.org/tlog-proof@v1\nindex 1\n" + "AAAA\n" * 65 + "\nnote",
    ],
)
def test_what_is_no_proof_file_is_refused(text: str) -> None:
    """Other versions, extras that are no base64, loose numbers and endless paths get one code."""
    with pytest.raises(PeerError) as caught:
        notes.parse_log_proof(text)
    assert caught.value.code == "SF328"
