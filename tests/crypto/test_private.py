"""No private key shows its material by accident."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from datetime import UTC, datetime, timedelta

import pytest

from semfed_secure.crypto.certificates import authority_certificate, new_key, open_authority
from semfed_secure.crypto.external import ExternalPart
from semfed_secure.crypto.keys import OpeningKey, SigningKey, Suite
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.crypto.p256 import P256PrivateKey
from semfed_secure.crypto.parts import SoftwarePart
from semfed_secure.crypto.private import Secret, Undisclosed
from semfed_secure.crypto.stream import ChaChaStream
from semfed_secure.wire.cose import Algorithm
from tests.secrets_held import bases, holders

MATERIAL = b"\xf5material-that-nobody-may-see\xf6\xf7\xf8"
_NOW = datetime(2026, 11, 22, tzinfo=UTC)
_KEY = new_key(MATERIAL)[1]
_CERTIFICATE = authority_certificate("north", _KEY, MATERIAL, now=_NOW, valid_for=timedelta(days=9))
HOLDERS = {
    "signing": SigningKey.from_secret(Suite.HYBRID_PQ, MATERIAL * 2),
    "signing_p256": SigningKey.from_secret(Suite.NIST_P256, MATERIAL),
    "opening": OpeningKey.from_seed(MATERIAL),
    "opening_p256": OpeningKey.from_seed(MATERIAL, Suite.NIST_P256),
    "part": SoftwarePart.from_seed(Algorithm.ML_DSA_65, MATERIAL),
    "p256": P256PrivateKey.from_private_bytes(MATERIAL),
    "authority": open_authority(_CERTIFICATE, _KEY, MATERIAL),
    "log": LogSigningKey("north", MATERIAL, MATERIAL),
    "secret": Secret(MATERIAL),
    "stream": ChaChaStream(fixed_key_for_test_vectors=MATERIAL),
}
assert len(MATERIAL) == 32
SHOWN = (str(int.from_bytes(MATERIAL)), "nobody-may-see", MATERIAL.hex(), MATERIAL.hex()[:16])


@pytest.fixture(params=HOLDERS)
def holder(request):
    """Each thing that holds secret bytes."""
    return HOLDERS[request.param]


def test_printing_shows_no_material(holder) -> None:
    """In repr, str, format, a log record, or an f-string with ``=``."""
    record = logging.LogRecord("x", 0, "x", 0, "%s %r", (holder, holder), None)
    printed = [repr(holder), str(holder), f"{holder}", f"{holder=}", record.getMessage(), ascii([holder])]
    assert not any(part in text for part in SHOWN for text in printed)


def test_pickling_and_copying_raise(holder) -> None:
    """With every protocol, alone or inside another object."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=r"neither pickled nor copied"):
            pickle.dumps({"key": holder}, protocol=protocol)
    for attempt in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"neither pickled nor copied"):
            attempt(holder)
    with pytest.raises(TypeError):
        json.dumps(holder)


def test_every_class_that_holds_secret_bytes_is_tested_here() -> None:
    """A new one joins the list, or the tests of a round do not look for what it holds; a key outside has its own."""

    def below(kind: type) -> set[type]:
        return {kind}.union(*map(below, kind.__subclasses__()))

    assert below(Undisclosed) == holders() | bases()
    assert {type(holder) for holder in HOLDERS.values()} == holders() - {ExternalPart}


def test_there_is_no_dict_to_walk_and_nothing_to_add(holder) -> None:
    """Slots only, so ``vars`` and attribute dumps have nothing to show."""
    assert not hasattr(holder, "__dict__")
    with pytest.raises(TypeError):
        vars(holder)
    with pytest.raises(AttributeError):
        holder.anything = 1


def test_a_traceback_with_locals_shows_no_material(holder) -> None:
    """As rich and error reporters print it."""

    def fail(key):
        raise ValueError("failed")

    with pytest.raises(ValueError, match="failed") as caught:
        fail(holder)
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "key = <" in shown
    assert not any(part in shown for part in SHOWN)


CREATIONS = {
    "signing": lambda secret: SigningKey.from_secret(Suite.HYBRID_PQ, secret),
    "signing_p256": lambda secret: SigningKey.from_secret(Suite.NIST_P256, secret),
    "opening": OpeningKey.from_seed,
    "opening_p256": lambda secret: OpeningKey.from_seed(secret, Suite.NIST_P256),
    "log": lambda secret: LogSigningKey.from_secret("x", secret),
}


@pytest.mark.parametrize("kind", CREATIONS)
def test_a_key_that_cannot_be_made_shows_nothing_of_what_it_was_to_be_made_of(kind) -> None:
    """In no frame of the keys' classes; the functions below them see what is no key at all."""
    with pytest.raises(ValueError, match=r".") as caught:
        CREATIONS[kind](MATERIAL[:-1])
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame for frame in report.stack if frame.filename.endswith(("keys.py", "log_keys.py"))]
    assert frames
    assert not any(part in str(frame.locals) for part in SHOWN for frame in frames)


def test_generated_keys_differ() -> None:
    """Two new keys share nothing."""
    assert SigningKey.generate().public.parts[0].raw != SigningKey.generate().public.parts[0].raw
    assert SigningKey.generate().public.parts[1].raw != SigningKey.generate().public.parts[1].raw
    assert OpeningKey.generate().public != OpeningKey.generate().public
    assert LogSigningKey.generate("x").public.encode() != LogSigningKey.generate("x").public.encode()


def test_the_exported_secret_restores_the_key() -> None:
    """What key files keep is enough, and only that."""
    signing, opening, log = SigningKey.generate(), OpeningKey.generate(), LogSigningKey.generate("x")
    assert SigningKey.from_secret(Suite.HYBRID_PQ, signing.export_secret()).public == signing.public
    assert OpeningKey.from_seed(opening.export_secret()).public == opening.public
    assert LogSigningKey.from_secret("x", log.export_secret()).public == log.public
    assert [len(key.export_secret()) for key in (signing, opening, log)] == [64, 32, 64]
