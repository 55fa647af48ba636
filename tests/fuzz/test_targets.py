"""Every input that fuzzing ever needed is read again, without a fuzzer: coded refusals, bounded time, nothing else."""

from __future__ import annotations

import time

import pytest

from semfed_secure.errors import PeerError
from tests.fuzz.blow_ups import counted, repeated
from tests.fuzz.draw import Draw
from tests.fuzz.measure import LEAST, reached
from tests.fuzz.mutate import mutate_tree
from tests.fuzz.target import CORPUS, CRASHES, Target
from tests.fuzz.targets import TARGETS

SECONDS_PER_INPUT = 2.0
LARGE = 8 * 1024
LARGEST_CORPUS = 300_000


@pytest.mark.parametrize("name", TARGETS)
def test_every_kept_input_is_taken_or_refused_by_a_code(name: str) -> None:
    """Seeds, corpus and former defects: no other exception, and no input that takes its time."""
    target = TARGETS[name]
    for data in target.corpus():
        started = time.process_time()
        target.attempt(data)
        assert time.process_time() - started < SECONDS_PER_INPUT, data[:40]


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"consistency"}))
def test_every_target_begins_with_an_input_that_is_accepted(name: str) -> None:
    """A target whose seeds are all refused would fuzz its first line only."""
    assert None in [TARGETS[name].attempt(seed) for seed in TARGETS[name].seeds()]


@pytest.mark.parametrize("name", TARGETS)
def test_large_inputs_take_time_in_proportion(name: str) -> None:
    """One thing over and over, and heads that promise 2**64 items: nothing is built, nothing goes round in circles."""
    target = TARGETS[name]
    slowest = 0.0
    for data in [*repeated(target, LARGE), *counted(LARGE)]:
        started = time.process_time()
        target.attempt(data)
        slowest = max(slowest, time.process_time() - started)
    assert slowest < SECONDS_PER_INPUT


def test_an_exception_without_a_code_is_a_defect() -> None:
    """The rule of every target can be broken, and is seen when it is."""
    with pytest.raises(KeyError):
        Target("broken", lambda data: {}[data]).attempt(b"")

    def unlisted(_data: bytes) -> None:
        error = PeerError("SF302", "a test")
        error.code = "SF999"
        raise error

    with pytest.raises(AssertionError, match="SF999"):
        Target("unlisted", unlisted).attempt(b"")


def test_the_corpus_belongs_to_targets_and_stays_small() -> None:
    """Nothing lies around that no target reads, and a clone stays light."""
    folders = [folder for base in (CORPUS, CRASHES) if base.is_dir() for folder in base.iterdir()]
    assert {folder.name for folder in folders} <= set(TARGETS)
    assert sum(path.stat().st_size for folder in folders for path in folder.iterdir()) < LARGEST_CORPUS


def test_the_same_bytes_are_the_same_decisions() -> None:
    """A crash input replays: nothing is drawn from anywhere else."""
    first, second = Draw(b"\1\2\3\4"), Draw(b"\1\2\3\4")
    assert [first.below(7), first.some(9), first.text()] == [second.below(7), second.some(9), second.text()]
    seed = TARGETS["message"].seeds()[0]
    assert mutate_tree(seed, 5) == mutate_tree(seed, 5) != seed


def test_kept_forgeries_reach_the_steps_behind_the_signatures() -> None:
    """At least 95 % of the lines of steps 8 to 15 are executed by the kept inputs of one target."""
    lines, wanted = reached()
    assert len(wanted) > 25
    assert len(lines) >= LEAST * len(wanted), sorted(wanted - lines)


def test_a_tree_that_takes_exponential_time_to_encode_is_not_mutated() -> None:
    """A map as a key of a map, and a list twice in a list, 60 deep: encoding either would never end."""
    keys = b"\xa1" * 60 + b"\x01" * 61
    shared = b"\xd8\x1c\x82" * 60 + b"\x01\x02" + b"".join(b"\xd8\x1d\x18" + bytes([n]) for n in range(59, 0, -1))
    assert mutate_tree(keys, 1) is None
    assert mutate_tree(shared, 1) is None
