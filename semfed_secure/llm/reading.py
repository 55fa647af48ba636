"""States of texts, computed once: in memory for this process, on disk for the public prompts of one machine."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from semfed_secure.errors import ConfigurationError
from semfed_secure.ids import DIGEST_BYTES, sha256
from semfed_secure.llm.split import SplitModel, States, join_states

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from semfed_secure.ids import Digest
    from semfed_secure.llm.adapter import LoraAdapter

_SHARE_TEXTS = 256  # about ten seconds of work: processes that need the same states divide it among them
_TOKENS = 8192  # per pass through the frozen layers, padding included: bounds memory where texts are long
_REMEMBERED_BYTES = 1 << 30  # for sets of public prompts, such as a round's and a validation set; one at least


@dataclass(frozen=True, slots=True)
class Reading:
    """Texts to be read: their tokens, and how many of the last ones are active."""

    tokens: tuple[tuple[int, ...], ...]
    active: tuple[int, ...]

    def part(self, places: Sequence[int]) -> Reading:
        """Some of the texts."""
        return Reading(tuple(self.tokens[p] for p in places), tuple(self.active[p] for p in places))

    def digest(self) -> str:
        """One name for exactly these tokens."""
        return hashlib.sha256(json.dumps([self.tokens, self.active]).encode()).hexdigest()


class StateReader:
    """Reads texts with the frozen layers.

    Public texts are remembered, and shared with other processes if a directory is given; private ones are computed
    for the caller alone, and nothing of them is kept or written.
    """

    def __init__(
        self, split: SplitModel, adapter: LoraAdapter, *, digest: Digest, batch: int, share: Path | None
    ) -> None:
        """``digest`` is that of the model's files: other weights never meet states of these.

        Raises:
            ConfigurationError: SF101 if others can write into ``share``, or own it: whoever can, decides what this
                model says; SF102 if it cannot be made.
        """
        if share is not None:
            _check_private(share)
        self._split, self._adapter, self._batch, self._share = split, adapter, batch, share
        self._model = f"{digest.hex()[:32]}-{split.first}"
        self._remembered: OrderedDict[str, States] = OrderedDict()

    def private(self, reading: Reading) -> States:
        """The states of private texts."""
        order = _by_length(reading)
        return _restore(self._compute(reading.part(order)), order)

    def public(self, reading: Reading) -> States:
        """The states of public texts."""
        name = reading.digest()
        if name not in self._remembered:
            order = _by_length(reading)
            groups = [reading.part(order[at : at + _SHARE_TEXTS]) for at in range(0, len(order), _SHARE_TEXTS)]
            parts = [self._compute(group) for group in groups] if self._share is None else self._shared(groups)
            self._remembered[name] = _restore(join_states(parts), order)
            while len(self._remembered) > 1 and sum(map(_bytes, self._remembered.values())) > _REMEMBERED_BYTES:
                self._remembered.popitem(last=False)
        self._remembered.move_to_end(name)
        return self._remembered[name]

    def _compute(self, reading: Reading) -> States:
        """The states of texts that stand shortest first."""
        parts, at = [], 0
        with self._adapter.off():
            while at < len(reading.tokens):
                widest = max(map(len, reading.tokens[at : at + self._batch]))
                here = slice(at, at + max(1, min(self._batch, _TOKENS // widest)))
                parts.append(self._split.states(reading.tokens[here], reading.active[here]))
                at = here.stop
        return join_states(parts)

    def _shared(self, groups: Sequence[Reading]) -> list[States]:
        """Load what others have computed, compute what nobody is computing, wait for the rest."""
        found: dict[int, States] = {}
        while len(found) < len(groups):
            missing = [place for place in range(len(groups)) if place not in found]
            made = False
            for place in missing:
                states = self._group(groups[place], wait=False)
                if states is not None:
                    found[place], made = states, True
            if not made:
                waited = self._group(groups[missing[0]], wait=True)
                assert waited is not None  # whoever waits for a lock gets it
                found[missing[0]] = waited
        return [found[place] for place in range(len(groups))]

    def _group(self, group: Reading, *, wait: bool) -> States | None:
        """One group's states; None if another process is at it and ``wait`` is off."""
        assert self._share is not None
        path = self._share / f"{self._model}-{group.digest()}.states"
        stored = _load(path)
        if stored is not None:
            return stored
        with _lock(path.with_suffix(".lock"), wait=wait) as held:
            if not held:
                return None
            stored = _load(path)
            if stored is None:
                stored = self._compute(group)
                _save(stored, path)
            return stored


def _check_private(share: Path) -> None:
    try:
        share.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = share.stat()
    except OSError as error:
        raise ConfigurationError("SF102", f"model.settings.state_cache: {share}: {error.strerror}") from None
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError("SF101", f"model.settings.state_cache: others can write into {share}")
    if status.st_uid != os.geteuid():
        raise ConfigurationError("SF101", f"model.settings.state_cache: {share} belongs to another user")


def _by_length(reading: Reading) -> list[int]:
    """Shortest first, so that texts read together need little padding."""
    return sorted(range(len(reading.tokens)), key=lambda place: (len(reading.tokens[place]), place))


def _bytes(states: States) -> int:
    return states.hidden.nbytes + states.keys_values.nbytes


def _restore(states: States, order: Sequence[int]) -> States:
    return states.take(torch.argsort(torch.tensor(order)))


@contextmanager
def _lock(path: Path, *, wait: bool) -> Iterator[bool]:
    """An advisory lock that the system releases when its holder dies; yields whether it was had."""
    with path.open("wb") as file:
        yield _locked(file, wait=wait)


def _locked(file: IO[bytes], *, wait: bool) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _save(states: States, path: Path) -> None:
    beside = path.with_suffix(".part")  # whoever holds the lock is alone; what a killed one left is written over
    data = save({name: getattr(states, name).contiguous() for name in States.__slots__})
    with beside.open("wb") as file:
        file.write(sha256(data))
        file.write(data)
    beside.replace(path)


def _load(path: Path) -> States | None:
    """What another process left; None if it is not there or not what was written, so that it is computed again.

    States stand for the pinned weights: a changed byte of them would be another model.
    """
    try:
        with path.open("rb") as file:
            digest, data = file.read(DIGEST_BYTES), file.read()
        return States(**load(data)) if sha256(data) == digest else None
    except (FileNotFoundError, SafetensorError, TypeError):
        return None
