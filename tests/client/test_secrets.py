"""No object of a running site or server shows a private key, however it is printed, dumped, copied or reported."""

from __future__ import annotations

import base64
import copy
import dataclasses
import gc
import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.crypto.private import Secret
from semfed_secure.identity.member_files import MemberKeys
from semfed_secure.testing.federation import PASSPHRASE
from tests.client.world import ROUND, World, records
from tests.secrets_held import holders, seeds_of, shows

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = "semfed_secure."


def reachable(*roots: object) -> list[object]:
    """Every object of the product that can be reached from ``roots``."""
    seen: dict[int, object] = {}
    queue = list(roots)
    while queue:
        item = queue.pop()
        if id(item) in seen or isinstance(item, type):
            continue
        module = type(item).__module__
        if not module.startswith(OURS) and not isinstance(item, dict | list | tuple | set | frozenset):
            continue
        seen[id(item)] = item
        queue.extend(gc.get_referents(item))
    return [item for item in seen.values() if type(item).__module__.startswith(OURS)]


def printed(item: Any) -> Iterator[str]:
    """Every way in which an object gets into a log or a report without anybody asking for its key."""
    yield from (repr(item), str(item), f"{item}", f"{item=}", ascii([item]), repr({"key": item}))
    yield logging.LogRecord("x", 0, "x", 0, "%s %r", (item, item), None).getMessage()
    if hasattr(item, "__dict__"):
        yield repr(vars(item))
        yield repr(item.__dict__)
    if dataclasses.is_dataclass(item):
        yield repr([getattr(item, field.name) for field in dataclasses.fields(item)])
    with pytest.raises(LookupError) as caught:
        _fail(item)
    yield "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())


def _fail(item: Any) -> None:
    raise LookupError(item)


@pytest.fixture
def running(world: World) -> Iterator[tuple[list[object], list[bytes]]]:
    """Everything in memory of a server and a site in the middle of a round, and their private keys."""
    world.open_round()
    with world.client("bay") as client, client.join(ROUND) as r:
        r.train(records("bay"))
        r.contribute()
        context = world.federation.context
        secrets = seeds_of(client.site.keys) + seeds_of(context.keys) + [PASSPHRASE]
        yield reachable(client, r, world.federation.coordinator, context), secrets


def test_no_object_of_a_running_round_shows_a_key_or_a_passphrase(running) -> None:
    """In no form, of any key, of any object that a site or a server holds."""
    objects, secrets = running
    kinds = {type(item) for item in objects}
    assert len(kinds) > 30
    assert kinds & holders()
    for item in objects:
        for text in printed(item):
            assert not any(shows(text, secret) for secret in secrets), type(item)


def test_no_object_of_a_running_round_takes_a_key_into_a_pickle_or_a_copy(running) -> None:
    """What holds a key cannot be pickled or copied; what can be holds none."""
    objects, secrets = running
    pickled = 0
    for item in objects:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            try:
                data = pickle.dumps(item, protocol=protocol)
            except Exception:  # noqa: BLE001 - refused, by us or by what it holds
                continue
            pickled += 1
            assert not any(secret in data for secret in secrets), type(item)
        if type(item) in holders():
            for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError, match="neither pickled nor copied"):
                    attempt(item)
    assert pickled


@dataclasses.dataclass
class Careless:
    """A class that shows what it holds."""

    secret: bytes


def test_the_search_finds_a_key_that_is_shown() -> None:
    """Or the tests above would prove nothing."""
    secret = bytes(range(32))
    assert all(shows(text, secret) for text in printed(Careless(secret)))
    assert all(shows(f"x{form}y", secret) for form in (secret.hex(), str(int.from_bytes(secret)), repr(secret[:16])))
    assert shows(base64.b64encode(b"xy" + secret).decode(), secret)
    assert secret in pickle.dumps(Careless(secret))
    assert {type(item) for item in reachable(MemberKeys(None, Secret(secret), None, None))} == {MemberKeys, Secret}
