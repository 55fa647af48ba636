"""Whole-run settings: no test reaches beyond this machine, no hub is asked, no personal setting leaks in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.databases", "tests.simulator.dumping", "tests.tokens"]  # fixtures shared by several rooms


# Cores are shared: a slow example says nothing about the code. Tests of time state their own bound.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

LOOPBACK_ONLY = Path(__file__).parent / "loopback_only"

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Children of the run load the same guard: Python imports `sitecustomize` from PYTHONPATH at start.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(LOOPBACK_ONLY), os.environ.get("PYTHONPATH")]))

if "tests_loopback_only" not in sys.modules:
    import importlib.util

    _spec = importlib.util.spec_from_file_location("tests_loopback_only", LOOPBACK_ONLY / "sitecustomize.py")
    assert _spec is not None
    assert _spec.loader is not None
    _module = importlib.util.module_from_spec(_spec)
    sys.modules["tests_loopback_only"] = _module
    _spec.loader.exec_module(_module)


@pytest.fixture(autouse=True)
def _no_personal_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no ``SEMFED_*`` setting of the developer's shell change what a test sees; the model cache may move."""
    for name in [name for name in os.environ if name.startswith("SEMFED_") and name != "SEMFED_CACHE"]:
        monkeypatch.delenv(name)


@pytest.fixture
def cheap_key_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let key files that a test writes open in a millisecond; what a guess costs is tested in tests/crypto."""
    from semfed_secure.crypto import key_files

    cheap = key_files.Argon2Cost(memory_kib=64, iterations=1, lanes=1)
    monkeypatch.setattr(key_files, "Argon2Cost", lambda: cheap)
