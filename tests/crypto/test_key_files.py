"""Key files: private, sealed, never overwritten, and silent about what they hold."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING

import pytest

from semfed_secure.crypto import key_files
from semfed_secure.crypto.key_files import (
    Argon2Cost,
    load_log_key,
    load_opening_key,
    load_signing_key,
    read_passphrase,
    save_key,
)
from semfed_secure.crypto.keys import OpeningKey, SigningKey, Suite
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import ConfigurationError, SemfedError
from semfed_secure.wire.cose import Algorithm

if TYPE_CHECKING:
    from pathlib import Path

CHEAP = Argon2Cost(memory_kib=64, iterations=1, lanes=1)  # a file says its own cost, so tests need not pay for guessing
PASSPHRASE = b"correct horse battery staple"
_P256_IN_A_HYBRID = (Algorithm.ESP256, Algorithm.ML_DSA_65)
KEYS = {
    "signing": (SigningKey.from_secret(Suite.HYBRID_PQ, bytes(range(64))), load_signing_key),
    "signing_p256": (SigningKey.from_secret(Suite.NIST_P256, bytes(range(32))), load_signing_key),
    "signing_hybrid_p256": (
        SigningKey.from_secret(Suite.HYBRID_PQ, bytes(range(64)), algorithms=_P256_IN_A_HYBRID),
        load_signing_key,
    ),
    "opening": (OpeningKey.from_seed(bytes(range(32))), load_opening_key),
    "opening_p256": (OpeningKey.from_seed(bytes(range(32)), Suite.NIST_P256), load_opening_key),
    "log": (LogSigningKey("north.example/h/north", bytes(range(32)), bytes(range(32, 64))), load_log_key),
}


@pytest.fixture(params=KEYS)
def kind(request) -> str:
    """Each kind of key."""
    return request.param


@pytest.fixture
def saved(kind, tmp_path) -> Path:
    """A saved key of that kind."""
    save_key(tmp_path / "a.key", KEYS[kind][0], PASSPHRASE, cost=CHEAP)
    return tmp_path / "a.key"


def code(call, *arguments) -> str:
    """The code with which ``call`` is refused."""
    with pytest.raises(ConfigurationError) as caught:
        call(*arguments)
    return caught.value.code


def test_a_key_comes_back_under_its_passphrase(kind, saved) -> None:
    """The same public key, and signatures or openings with it."""
    key, load = KEYS[kind]
    assert load(saved, PASSPHRASE).public == key.public


def test_the_default_cost_is_that_of_rfc_9106(tmp_path) -> None:
    """64 MiB, three passes, four lanes; and such a file opens."""
    assert Argon2Cost() == Argon2Cost(memory_kib=65_536, iterations=3, lanes=4)
    save_key(tmp_path / "a.key", KEYS["opening"][0], PASSPHRASE)
    assert load_opening_key(tmp_path / "a.key", PASSPHRASE).public == KEYS["opening"][0].public


def test_the_file_is_private_and_holds_no_material(kind, saved) -> None:
    """Mode 0600, and neither seed nor passphrase in its bytes."""
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    data = saved.read_bytes()
    assert KEYS[kind][0].export_secret()[:16] not in data
    assert PASSPHRASE[:8] not in data


def test_a_permissive_umask_does_not_widen_the_file(tmp_path) -> None:
    """The mode is asked for when the file is made, not afterwards."""
    before = os.umask(0)
    try:
        save_key(tmp_path / "a.key", KEYS["opening"][0], PASSPHRASE, cost=CHEAP)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o602, 0o610, 0o660, 0o777])
def test_a_file_that_others_can_reach_is_refused(kind, saved, mode) -> None:
    """SF122 for any right of group or others."""
    saved.chmod(mode)
    assert code(KEYS[kind][1], saved, PASSPHRASE) == "SF122"


@pytest.mark.parametrize("wrong", [b"", b"correct", PASSPHRASE + b" ", PASSPHRASE[:-1], PASSPHRASE.upper()])
def test_a_wrong_passphrase_is_refused(kind, saved, wrong) -> None:
    """SF121, whatever is wrong with it."""
    assert code(KEYS[kind][1], saved, wrong) == "SF121"


@pytest.mark.parametrize("kind", ["signing_p256"], indirect=True)  # the form is the same for all, this one is short
def test_every_flipped_bit_is_refused(saved, kind) -> None:
    """Header, public half, cost, salt, nonce, material: each single bit, always SF121."""
    data = saved.read_bytes()
    for position in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        if flipped[slice(*cost_span(data))] != data[slice(*cost_span(data))]:
            continue  # a changed cost is tested below: some values are legal and slow
        saved.write_bytes(flipped)
        assert code(KEYS[kind][1], saved, PASSPHRASE) == "SF121"


def cost_span(data: bytes) -> tuple[int, int]:
    """Where the cost ``{1: 64, 2: 1, 3: 1}`` stands in a file made by this module."""
    start = data.index(bytes.fromhex("a30118400201" + "0301"))
    return start, start + 8


@pytest.mark.parametrize(
    "cost",
    ["a30118410201" + "0301", "a30118400202" + "0301", "a30118400201" + "0302"],
    ids=["memory", "iterations", "lanes"],
)
def test_a_changed_cost_is_refused(saved, kind, cost) -> None:
    """The cost is authenticated: it cannot be lowered under a known passphrase either."""
    data = saved.read_bytes()
    start, end = cost_span(data)
    saved.write_bytes(data[:start] + bytes.fromhex(cost) + data[end:])
    assert code(KEYS[kind][1], saved, PASSPHRASE) == "SF121"


def test_a_hostile_cost_is_refused_before_it_is_paid(saved, kind) -> None:
    """A file that asks for 4 TiB or for 2^32 passes is refused unread."""
    data = saved.read_bytes()
    start, end = cost_span(data)
    for cost in ("a3011affffffff" + "0201" + "0301", "a3011840" + "021affffffff" + "0301"):
        saved.write_bytes(data[:start] + bytes.fromhex(cost) + data[end:])
        assert code(KEYS[kind][1], saved, PASSPHRASE) == "SF121"


@pytest.mark.parametrize("data", [b"", b"\x00", b"-----BEGIN PRIVATE KEY-----", bytes(5_000)])
def test_a_file_of_another_kind_is_refused(tmp_path, kind, data) -> None:
    """SF121, also for one that is too large."""
    path = tmp_path / "a.key"
    path.write_bytes(data)
    path.chmod(0o600)
    assert code(KEYS[kind][1], path, PASSPHRASE) == "SF121"


def test_a_suite_of_a_later_version_is_refused(tmp_path, monkeypatch) -> None:
    """SF121 rather than a guess at what the seeds mean."""
    key = KEYS["opening"][0]
    save_key(tmp_path / "a.key", key, PASSPHRASE, cost=CHEAP)
    data = (tmp_path / "a.key").read_bytes().replace(b"hybrid-pq", b"hybrid-px")
    (tmp_path / "a.key").write_bytes(data)
    assert code(load_opening_key, tmp_path / "a.key", PASSPHRASE) == "SF121"


def test_the_file_tells_whose_key_it_is_without_a_passphrase(saved, kind) -> None:
    """Its public half stands in it, authentic once the passphrase opened it."""
    public = KEYS[kind][0].public.encode()
    assert (public if isinstance(public, bytes) else public.encode()) in saved.read_bytes()


def test_a_file_that_names_another_public_half_is_refused(tmp_path, kind, monkeypatch) -> None:
    """SF121, even where the passphrase vouches for the whole file."""
    key, load = KEYS[kind]
    other = type(key).generate(*({"x"} if kind == "log" else {key.public.suite}))
    if kind == "signing_hybrid_p256":
        other = SigningKey.from_secret(Suite.HYBRID_PQ, bytes(range(1, 65)), algorithms=_P256_IN_A_HYBRID)
    described = key_files._describe(other)
    monkeypatch.setattr(key_files, "_describe", lambda _: described)
    save_key(tmp_path / "a.key", key, PASSPHRASE, cost=CHEAP)
    assert code(load, tmp_path / "a.key", PASSPHRASE) == "SF121"


def test_keys_of_different_kinds_do_not_mix(saved, kind) -> None:
    """A log key never signs messages, a signing key never opens."""
    for load in {load_signing_key, load_opening_key, load_log_key} - {KEYS[kind][1]}:
        assert code(load, saved, PASSPHRASE) == "SF121"


def test_a_missing_file_and_directory_are_said_to_be_missing(tmp_path, kind) -> None:
    """SF102 names the path."""
    assert code(KEYS[kind][1], tmp_path / "none.key", PASSPHRASE) == "SF102"
    assert code(KEYS[kind][1], tmp_path, PASSPHRASE) == "SF102"
    assert code(save_key, tmp_path / "none" / "a.key", KEYS[kind][0], PASSPHRASE) == "SF102"


def test_an_existing_file_is_never_touched(saved, kind) -> None:
    """SF123, and the old key is still there; a symbolic link is not followed either."""
    before = saved.read_bytes()
    assert code(save_key, saved, KEYS["opening"][0], PASSPHRASE) == "SF123"
    link = saved.with_name("link.key")
    link.symlink_to(saved.with_name("elsewhere.key"))
    assert code(save_key, link, KEYS["opening"][0], PASSPHRASE) == "SF123"
    assert saved.read_bytes() == before
    assert not saved.with_name("elsewhere.key").exists()


@pytest.mark.parametrize("short", [b"", b"1234567"])
def test_a_short_passphrase_is_refused(tmp_path, short) -> None:
    """Eight bytes are the least."""
    assert code(save_key, tmp_path / "a.key", KEYS["opening"][0], short) == "SF105"
    assert not (tmp_path / "a.key").exists()


def test_saving_twice_gives_different_files(tmp_path, kind) -> None:
    """Salt and nonce are new each time."""
    contents = []
    for name in ("a", "b"):
        save_key(tmp_path / name, KEYS[kind][0], PASSPHRASE, cost=CHEAP)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] != contents[1]


def frames_shown(error: SemfedError) -> str:
    """The traceback with locals of all frames in the product, as an error reporter prints it."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in report.stack if "semfed_secure" in frame.filename]
    assert frames
    return "".join(f"{frame.name} {frame.locals}" for frame in frames) + str(error) + repr(error.fields)


def test_no_failure_shows_the_passphrase_or_the_material(saved, kind) -> None:
    """Wrong passphrase, damaged file, existing file: not even in a traceback with locals."""
    key, load = KEYS[kind]
    wrong = b"another passphrase"
    attempts = [
        lambda: load(saved, wrong),
        lambda: load(saved.with_name("none"), wrong),
        lambda: save_key(saved, key, wrong, cost=CHEAP),
        lambda: save_key(saved.with_name("new"), key, wrong[:7], cost=CHEAP),
    ]
    secret = key.export_secret()
    for attempt in attempts:
        with pytest.raises(ConfigurationError) as caught:
            attempt()
        shown = frames_shown(caught.value)
        assert "another" not in shown
        assert repr(secret)[2:20] not in shown
        assert secret.hex()[:16] not in shown


def test_the_passphrase_is_read_from_a_file_before_the_environment(tmp_path) -> None:
    """Without its line end; the file must be private, and one of the two must be there."""
    path = tmp_path / "passphrase"
    path.write_bytes(PASSPHRASE + b"\r\n")
    path.chmod(0o600)
    environ = {"SEMFED_PASSPHRASE": "from the environment"}
    assert read_passphrase(path, environ) == PASSPHRASE
    assert read_passphrase(None, environ) == b"from the environment"
    assert read_passphrase(None, {"SEMFED_PASSPHRASE": "\udcff secret"}) == b"\xff secret"
    assert code(read_passphrase, None, {}) == "SF102"
    assert code(read_passphrase, tmp_path / "none", environ) == "SF102"
    path.chmod(0o644)
    assert code(read_passphrase, path, environ) == "SF122"


_FOUR_AT_ONCE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from semfed_secure.crypto.key_files import load_signing_key
with ThreadPoolExecutor(4) as pool:
    keys = list(pool.map(lambda _: load_signing_key(Path(sys.argv[1]), b"correct horse battery staple"), range(40)))
print(len({key.key_id for key in keys}))
"""


def test_key_files_are_opened_by_several_threads_at_once(tmp_path) -> None:
    """Derivations of several lanes end; in a process of their own, so that a hang fails instead of hanging."""
    path = tmp_path / "signing.key"
    save_key(path, KEYS["signing"][0], PASSPHRASE, cost=Argon2Cost(memory_kib=1024, iterations=1, lanes=4))
    command = [sys.executable, "-c", _FOUR_AT_ONCE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "1\n"
