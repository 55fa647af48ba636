"""When a log cannot be written: a code, nothing acknowledged, and it goes on without a gap as soon as it can."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.verify import verify_log
from semfed_secure.clock import FixedClock
from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.storage import Database
from tests.audit.samples import START, Site, sample
from tests.audit.test_group import at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from semfed_secure.crypto.log_keys import LogSigningKey

NOBODY = 65_534


@contextmanager
def no_file_larger_than(count: int) -> Iterator[None]:
    """The operating system refuses to make a file of this process longer, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def until_refused(log: AuditLog, most: int) -> tuple[int, IntegrityError]:
    """How many batches were acknowledged before the first that was refused, and how that was told."""
    for number in range(most):
        try:
            log.append_all([sample(1)] * 50)
        except IntegrityError as error:
            return number, error
    pytest.fail("the disk did not fill up")


def as_nobody(act: Callable[[], str]) -> str:
    """What ``act`` answers in a process that may write nothing but what anybody may."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.seteuid(NOBODY)
            os.write(writing, act().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


def test_a_full_disk_refuses_and_the_log_goes_on_when_there_is_room(site: Site) -> None:
    """What was acknowledged before is there, what was refused is not, and the next number follows."""
    site.fill(2)
    with no_file_larger_than(300_000):
        acknowledged, error = until_refused(site.log, 100)
        assert error.code == "SF502"
        assert site.log.size() == 2 + 50 * acknowledged
    assert site.log.append(sample(0)) == 2 + 50 * acknowledged
    assert verify_log(site.path, key=site.vkey).size == 3 + 50 * acknowledged


def test_a_full_disk_refuses_every_thread_and_acknowledges_none(site: Site) -> None:
    """Threads that share a transaction share its fate, each by an error of its own."""
    site.fill(2)
    with no_file_larger_than(4_096):
        answers = at_once(lambda number: site.log.append(sample(number)))
    assert {getattr(answer, "code", answer) for answer in answers} == {"SF502"}
    assert site.log.append(sample(0)) == 2
    assert verify_log(site.path, key=site.vkey).size == 3


@pytest.fixture
def everybodys(tmp_path: Path) -> Iterator[None]:
    """Somebody without rights can reach the test's directory, if it is root's."""
    parents = [path for path in tmp_path.parents if path.stat().st_uid == 0 and path.stat().st_mode & 0o005 != 0o005]
    modes = [(path, path.stat().st_mode) for path in (tmp_path, *parents)]
    for path, mode in modes:
        path.chmod(mode | 0o055)
    yield
    for path, mode in modes:
        path.chmod(mode)


@pytest.mark.usefixtures("everybodys")
def test_a_read_only_file_and_directory_are_told_by_code(site: Site) -> None:
    """Whether the file or its directory cannot be written: no append, and the log as it was."""
    site.fill(2)
    site.database.close()

    def attempt() -> str:
        try:
            with Database.open(site.path, kind="client") as database:
                AuditLog(database, key=site.key, clock=site.clock, writer="w").append(sample(0))
        except (ConfigurationError, IntegrityError) as error:
            return error.code
        return "appended"

    site.path.parent.chmod(0o555)
    site.path.chmod(0o444)
    read_only = as_nobody(attempt)
    site.path.chmod(0o666)
    directory = as_nobody(attempt)
    site.path.parent.chmod(0o755)
    assert read_only in {"SF151", "SF502"}
    assert directory in {"SF151", "SF502"}
    assert site.log.append(sample(0)) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB; needs the right to mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0777", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this user cannot mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.usefixtures("everybodys")
def test_a_full_disk_under_postgresql_refuses_and_goes_on_when_there_is_room(
    postgresql_cluster: str, small_disk: Path, key: LogSigningKey
) -> None:
    """The tables lie on a small disk of their own: SF502 when it is full, and no gap after it has grown."""
    inside = small_disk / "tables"
    inside.mkdir()
    shutil.chown(inside, "postgres")
    with psycopg.connect(f"{postgresql_cluster}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{inside}'")
        connection.execute("CREATE DATABASE small TABLESPACE small")
        try:
            with Database.open(f"{postgresql_cluster}/small", kind="client") as database:
                log = AuditLog(database, key=key, clock=FixedClock(START), writer="w")
                full = small_disk / "full"
                free = shutil.disk_usage(small_disk).free
                full.write_bytes(bytes(free - 512 * 1024))
                acknowledged, error = until_refused(log, 200)
                assert error.code == "SF502"
                full.unlink()
                assert log.append(sample(0)) == 50 * acknowledged
            assert verify_log(f"{postgresql_cluster}/small", key=key.public.encode()).size == 50 * acknowledged + 1
        finally:
            connection.execute("DROP DATABASE small WITH (FORCE)")
            connection.execute("DROP TABLESPACE small")
