"""Whoever has a plain HTTP client and the standard mirrors a server's log, and verifies it without us."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.verify import verify_log
from semfed_secure.audit.vouched import Witnesses
from semfed_secure.identity.records import Role
from tests.audit.exports import independently
from tests.server.serving import listening
from tests.server.test_witnesses import WITNESSES, vouch
from tests.server.world import World, member, roster_file

if TYPE_CHECKING:
    from pathlib import Path

HUB = member("hub", Role.SERVER).keys
PREFIX = "/v1/log"


def fetched(url: str, name: str) -> tuple[bytes, str, str]:
    """One file of the log, its media type, and how long caches may keep it."""
    with urllib.request.urlopen(f"{url}{PREFIX}/{name}") as answer:
        return answer.read(), answer.headers["content-type"], answer.headers["cache-control"]


def names_of(size: int) -> list[str]:
    """The files of a log of so many entries, as c2sp.org/tlog-tiles names them; small logs need no longer numbers."""
    names, level, items = [], 0, size
    while items:
        for kind in ("0", "entries") if level == 0 else (str(level),):
            full, rest = divmod(items, 256)
            names += [f"tile/{kind}/{number:03d}" for number in range(full)]
            names += [f"tile/{kind}/{full:03d}.p/{rest}"] if rest else []
        level, items = level + 1, items // 256
    return names


def mirror(url: str, directory: Path) -> int:
    """Download the log into a directory; its size."""
    note, kind, caching = fetched(url, "checkpoint")
    assert (kind, caching) == ("text/plain; charset=utf-8", "no-cache")
    size = int(note.decode().split("\n")[1])
    for name in names_of(size):
        data, kind, caching = fetched(url, name)
        kept = "max-age=86400" if "/entries/" in name else "max-age=31536000, immutable"
        assert (kind, caching) == ("application/octet-stream", kept)
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    (directory / "checkpoint").write_bytes(note)
    return size


def test_a_mirror_made_with_a_plain_client_verifies_everywhere(tmp_path: Path) -> None:
    """The standard's paths, media types and caching; then both verifiers, with the witnesses, on what came."""
    world = World(tmp_path, min_witnesses=2)
    world.publish_roster(roster_file(sequence=2, witnesses=WITNESSES))
    world.server.advance()
    opened = Event(type=EventType.KEY_LOADED, outcome="success", actor="hub")
    world.audit.append_all([opened] * 600)
    mirrored = tmp_path / "mirror"
    mirrored.mkdir()
    with listening(world) as (_, url):
        vouch(world, *WITNESSES)
        size = mirror(url, mirrored)
    assert size > 600
    keys = [member(name, Role.WITNESS).keys.log.public.encode() for name in WITNESSES]
    key = HUB.log.public.encode()
    verdict = verify_log(mirrored, key=key, witnesses=Witnesses.parse(keys))
    assert (verdict.size, verdict.vouched_size) == (size, size)
    named = [word for text in keys for word in ("--witness", text)]
    status, said = independently(mirrored, "--key", key, *named)
    assert (status, said.split(",")[0]) == (0, f"VERIFIED: {size} entries")
    (mirrored / "tile" / "0" / "001").write_bytes((mirrored / "tile" / "0" / "000").read_bytes())
    assert independently(mirrored, "--key", key, *named)[0] == 1
