"""No private key shows its material by accident."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback

import pytest

from semfed_secure.crypto.keys import OpeningKey, SigningKey, Suite
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.crypto.private import Secret
from semfed_secure.crypto.stream import ChaChaStream

MATERIAL = b"\xf5material-that-nobody-may-see\xf6\xf7\xf8"
HOLDERS = {
    "signing": SigningKey.from_secret(Suite.HYBRID_PQ, MATERIAL * 2),
    "opening": OpeningKey.from_seed(MATERIAL),
    "log": LogSigningKey("north", MATERIAL, MATERIAL),
    "secret": Secret(MATERIAL),
    "stream": ChaChaStream(fixed_key_for_test_vectors=MATERIAL),
}
assert len(MATERIAL) == 32
SHOWN = ("nobody-may-see", MATERIAL.hex(), MATERIAL.hex()[:16])


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
