"""Log keys: C2SP verifier keys as other tools print them, and signatures that only the log can make."""

from __future__ import annotations

import base64
import hashlib

import pytest

from semfed_secure.crypto.log_keys import LogSigningKey, LogVerificationKey, note_key_id
from semfed_secure.errors import PeerError

KEY = LogSigningKey("north.example/hospitals/north", bytes(32), bytes([1] * 32))
VKEY = KEY.public.encode()


def test_the_published_go_verifier_key_is_read() -> None:
    """The key of golang.org/x/mod/sumdb/note's own example, with its key id."""
    vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    parsed = LogVerificationKey.parse(vkey)
    assert (parsed.name, len(parsed.ed25519), parsed.mldsa44) == ("PeterNeumann", 32, None)
    assert parsed.encode() == vkey


def test_both_keys_come_back_equal() -> None:
    """One verifier key per algorithm, joined by a comma, types 0x01 and 0x06."""
    assert LogVerificationKey.parse(VKEY) == KEY.public
    assert LogVerificationKey.parse(VKEY + "\n") == KEY.public
    first, second = (vkey.split("+", 2) for vkey in VKEY.split(","))
    assert base64.b64decode(first[2])[0] == 0x01
    assert base64.b64decode(second[2])[0] == 0x06
    raw = base64.b64decode(second[2])
    assert second[1] == hashlib.sha256(b"north.example/hospitals/north\n" + raw).hexdigest()[:8]


FIRST, SECOND = VKEY.split(",")
NAME, KEY_ID, ENCODED = FIRST.split("+", 2)
BAD = {
    "empty": "",
    "no_parts": "north",
    "empty_name": f"+{KEY_ID}+{ENCODED}",
    "space_in_name": f"north clinic+{KEY_ID}+{ENCODED}",
    "other_name": f"south.example+{KEY_ID}+{ENCODED}",
    "other_key_id": f"{NAME}+00000000+{ENCODED}",
    "upper_case_key_id": f"{NAME}+{KEY_ID.upper()}+{ENCODED}",
    "not_base64": f"{NAME}+{KEY_ID}+****",
    "base64_with_line_end": f"{NAME}+{KEY_ID}+{ENCODED[:8]}\n{ENCODED[8:]}",
    "empty_key": f"{NAME}+{KEY_ID}+",
    "cut_key": f"{NAME}+{KEY_ID}+{ENCODED[:-4]}",
    "unknown_type": f"{NAME}+{KEY_ID}+{base64.b64encode(bytes([2]) + bytes(32)).decode()}",
    "only_mldsa44": SECOND,
    "wrong_order": f"{SECOND},{FIRST}",
    "same_twice": f"{FIRST},{FIRST}",
    "three_keys": f"{FIRST},{SECOND},{SECOND}",
    "two_names": f"{FIRST},{LogSigningKey('other', bytes(32), bytes(32)).public.encode().split(',')[1]}",
    "too_long": VKEY + "x" * 4_096,
}


@pytest.mark.parametrize("defect", BAD)
def test_a_bad_verifier_key_is_refused(defect) -> None:
    """Each defect is SF302."""
    with pytest.raises(PeerError, match="SF302"):
        LogVerificationKey.parse(BAD[defect])


def test_a_lower_case_base64_change_is_refused() -> None:
    """Every character of the printed key is covered by the key id or by the form."""
    for position in range(len(FIRST)):
        changed = FIRST[:position] + ("A" if FIRST[position] != "A" else "B") + FIRST[position + 1 :]
        with pytest.raises(PeerError, match="SF302"):
            LogVerificationKey.parse(changed)


def test_signatures_verify_for_their_data_and_algorithm_only() -> None:
    """Another byte, another key, the other algorithm, or no such key: SF307."""
    ed25519, mldsa44 = KEY.sign_ed25519(b"tree"), KEY.sign_mldsa44(b"tree")
    KEY.public.verify_ed25519(ed25519, b"tree")
    KEY.public.verify_mldsa44(mldsa44, b"tree")
    other = LogSigningKey("x", bytes([2] * 32), bytes([3] * 32)).public
    classical_only = LogVerificationKey(KEY.name, KEY.public.ed25519)
    for verifier, signature, data in (
        (KEY.public.verify_ed25519, ed25519, b"treE"),
        (KEY.public.verify_mldsa44, mldsa44, b"treE"),
        (KEY.public.verify_ed25519, mldsa44, b"tree"),
        (KEY.public.verify_mldsa44, ed25519, b"tree"),
        (KEY.public.verify_ed25519, ed25519[:-1], b"tree"),
        (other.verify_ed25519, ed25519, b"tree"),
        (other.verify_mldsa44, mldsa44, b"tree"),
        (classical_only.verify_mldsa44, mldsa44, b"tree"),
    ):
        with pytest.raises(PeerError, match="SF307"):
            verifier(signature, data)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a,b", "a\nb", "é", "x" * 201])
def test_a_name_that_breaks_notes_is_refused(name) -> None:
    """No space, plus, comma, line end, or anything beyond ASCII."""
    with pytest.raises(ValueError, match="log name"):
        LogSigningKey(name, bytes(32), bytes(32))


def test_the_key_id_covers_name_type_and_key() -> None:
    """Four bytes of SHA-256, as C2SP signed-note says."""
    ids = {note_key_id("a", 1, b"k"), note_key_id("b", 1, b"k"), note_key_id("a", 6, b"k"), note_key_id("a", 1, b"l")}
    assert len(ids) == 4
    assert all(len(key_id) == 4 for key_id in ids)
