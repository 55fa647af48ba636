"""The demo's processes are watched and always ended."""

from __future__ import annotations

import os
import time

import pytest

from semfed_secure.demo import children as children_module
from semfed_secure.demo.children import Children, run_command
from semfed_secure.errors import ConfigurationError

SLEEP = ["-c", "import time; print('ready'); time.sleep(60)"]
STUBBORN = ["-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready'); time.sleep(60)"]


def wait_for_line(child, text: str) -> None:
    """Until the child has printed ``text``."""
    deadline = time.monotonic() + 20
    while child.last_line() != text and time.monotonic() < deadline:
        time.sleep(0.02)
    assert child.last_line() == text


def is_alive(pid: int) -> bool:
    """Whether a process of this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_child_ends_with_the_run_even_if_the_run_fails(tmp_path) -> None:
    """No process survives the context, whatever raised inside."""
    pids: list[int] = []

    def fail_midway() -> None:
        with Children(tmp_path / "logs") as children:
            pids.extend(children.start(name, SLEEP).process.pid for name in ("a", "b"))
            raise RuntimeError("run failed")

    with pytest.raises(RuntimeError, match="run failed"):
        fail_midway()
    assert len(pids) == 2
    assert not [pid for pid in pids if is_alive(pid)]


def test_a_child_that_ignores_the_request_is_killed(tmp_path, monkeypatch) -> None:
    """The grace period is the longest that a run waits."""
    monkeypatch.setattr(children_module, "GRACE_SECONDS", 0.2)
    with Children(tmp_path / "logs") as children:
        child = children.start("stubborn", STUBBORN)
        wait_for_line(child, "ready")
    assert child.status == -9


def test_a_child_that_ended_is_noticed_with_its_last_words(tmp_path) -> None:
    """The operator reads why, and where the rest stands."""
    with Children(tmp_path / "logs") as children:
        children.start("short", ["-c", "import sys; print('disk is full'); sys.exit(3)"]).process.wait()
        with pytest.raises(ConfigurationError, match="status 3: disk is full") as caught:
            children.require_running("short")
    assert caught.value.code == "SF107"
    assert str(caught.value.fields["log"]).endswith("short.log")


def test_a_command_that_fails_says_why() -> None:
    """The last line of a failing command is the message."""
    with pytest.raises(ConfigurationError, match="no command `frobnicate`"):
        run_command(["frobnicate"], environment={})
    assert run_command(["--version"], environment={}).startswith("semfed ")
