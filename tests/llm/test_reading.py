"""States once per text: private ones for the caller alone, public ones remembered and shared between processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
import torch

from semfed_secure.errors import ConfigurationError
from semfed_secure.ids import Digest, sha256
from semfed_secure.llm import reading as room
from semfed_secure.llm.adapter import LoraAdapter
from semfed_secure.llm.reading import Reading, StateReader
from semfed_secure.llm.split import SplitModel, States
from semfed_secure.testing import flipped
from tests.llm import tiny

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = sha256(b"weights")
TEXTS = tuple((tuple(range(1, 2 + place % 7)), 1 + place % 2 if place % 7 else 1) for place in range(20))
READING = Reading(
    tuple(tuple(t + place for t in text) for place, (text, _) in enumerate(TEXTS)), tuple(a for _, a in TEXTS)
)


class Counting(SplitModel):
    """Writes down which texts were computed, and may be slow."""

    log: Path | None = None
    seconds = 0.0

    def states(self, tokens, active):
        if self.log is not None:
            with self.log.open("a") as file:
                file.writelines(f"{row}\n" for row in tokens)
        time.sleep(self.seconds)
        return super().states(tokens, active)


def reader(
    share: Path | None = None, *, digest: Digest = WEIGHTS, log: Path | None = None, layers: int = 2
) -> StateReader:
    """A reader of a tiny model whose adapter changes something."""
    model = tiny.causal("llama")
    settings = tiny.SETTINGS.model_copy(update={"layers": layers})
    split, adapter = Counting(model, layers=layers), LoraAdapter(model, settings)
    tiny.stir(adapter)
    split.log = log
    return StateReader(split, adapter, digest=digest, batch=3, share=share)


def same(left: States, right: States) -> None:
    """Fail unless the states are equal up to rounding."""
    for name in States.__slots__:
        torch.testing.assert_close(getattr(left, name), getattr(right, name), rtol=1e-4, atol=1e-5)


def computed(log: Path) -> list[str]:
    """The texts that were computed so far."""
    return log.read_text().splitlines() if log.exists() else []


def test_states_stand_in_the_order_of_the_texts() -> None:
    """Reading shortest first, in small batches, is invisible: each text's states are those of the text alone."""
    own = reader()
    found = own.public(READING)
    for place in range(len(READING.tokens)):
        same(found.take(torch.tensor([place])), own.private(READING.part([place])))


def test_long_texts_are_read_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little memory a pass may take, the states are the same."""
    right = reader().private(READING)
    monkeypatch.setattr(room, "_TOKENS", 7)
    same(reader().private(READING), right)


def test_private_states_are_neither_kept_nor_written(tmp_path: Path) -> None:
    """Nothing of a private text is in the shared directory or in the memory of the reader."""
    own = reader(tmp_path / "shared", log=tmp_path / "log")
    own.private(READING)
    own.private(READING)
    assert list((tmp_path / "shared").iterdir()) == []
    assert not own._remembered
    assert len(computed(tmp_path / "log")) == 2 * len(READING.tokens)


def test_public_states_are_remembered_up_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same texts are computed once; beyond the limit the set that was used longest ago goes first."""
    own = reader(log=tmp_path / "log")
    first, second, third = (READING.part(range(at, at + 5)) for at in (0, 5, 10))
    for part in (first, second, first, third, second):
        own.public(part)
    assert len(computed(tmp_path / "log")) == 15
    monkeypatch.setattr(room, "_REMEMBERED_BYTES", sum(map(room._bytes, own._remembered.values())))
    fourth = READING.part(range(15, 20))
    own.public(fourth)
    assert first.digest() not in own._remembered
    monkeypatch.setattr(room, "_REMEMBERED_BYTES", 1)
    own.public(first)
    assert list(own._remembered) == [first.digest()]


def test_the_shared_directory_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    """Others of the machine can neither read nor plant states."""
    reader(tmp_path / "shared").public(READING)
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_can_write_into_is_refused(tmp_path: Path) -> None:
    """Planted states would decide what this model says: SF101."""
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigurationError) as caught:
        reader(tmp_path)
    assert caught.value.code == "SF101"


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner can write whatever its mode says: SF101."""
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(ConfigurationError, match="another user") as caught:
        reader(tmp_path)
    assert caught.value.code == "SF101"


def test_a_directory_that_cannot_be_made_is_a_coded_error(tmp_path: Path) -> None:
    """SF102 where a file stands in its place."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="SF102"):
        reader(tmp_path / "file" / "states")


def test_other_weights_and_another_split_share_nothing(tmp_path: Path) -> None:
    """States belong to one model and one number of layers."""
    share = tmp_path / "shared"
    reader(share).public(READING)
    for stranger in (
        reader(share, digest=sha256(b"other"), log=tmp_path / "a"),
        reader(share, layers=1, log=tmp_path / "a"),
    ):
        stranger.public(READING)
    assert len(computed(tmp_path / "a")) == 2 * len(READING.tokens)


@pytest.mark.parametrize("damage", ["empty", "half", "garbage", "flipped"])
def test_a_damaged_file_is_computed_again(tmp_path: Path, damage: str) -> None:
    """A file that a crash left unfinished, or of which one bit changed, is replaced, and serves the next process."""
    share, log = tmp_path / "shared", tmp_path / "log"
    right = reader(share).public(READING)
    (file,) = share.glob("*.states")
    whole = file.read_bytes()
    damaged = {"empty": b"", "half": whole[: len(whole) // 2], "garbage": b"\xff" * 100, "flipped": flipped(whole, -1)}
    file.write_bytes(damaged[damage])
    same(reader(share, log=log).public(READING), right)
    assert len(computed(log)) == len(READING.tokens)
    same(reader(share, log=log).public(READING), right)
    assert len(computed(log)) == len(READING.tokens)


def _read(share: Path, log: Path, out: Path, seconds: float) -> None:
    torch.set_num_threads(1)
    room._SHARE_TEXTS = 5
    own = reader(share, log=log)
    own._split.seconds = seconds
    torch.save([getattr(own.public(READING), name) for name in States.__slots__], out)


def _process(*given: object) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=_read, args=given)
    process.start()
    return process


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_processes_compute_each_group_once_and_a_killed_one_blocks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work is divided; what a killed process was at is done by the others, who get the same states."""
    share, log, killed_log = tmp_path / "shared", tmp_path / "log", tmp_path / "killed"
    killed = _process(share, killed_log, tmp_path / "none", 60)
    while not computed(killed_log):
        time.sleep(0.02)
    helpers = [_process(share, log, tmp_path / f"out{number}", 0.05) for number in range(2)]
    while not computed(log):
        time.sleep(0.02)
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    for process in (killed, *helpers):
        process.join(60)
    assert [process.exitcode for process in helpers] == [0, 0]
    assert sorted(computed(log)) == sorted(str(row) for row in READING.tokens)
    right = reader().public(READING)
    for number in range(2):
        same(States(*torch.load(tmp_path / f"out{number}")), right)
    assert not list(share.glob("*.part"))
