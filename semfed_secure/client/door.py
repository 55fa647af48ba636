"""Outputs on their way out: types that only the steps of `semfed_secure.client.release` make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semfed_secure.client.outputs import DraftOutputs, Outputs
    from semfed_secure.client.round import VerifiedRound
    from semfed_secure.privacy.budget import Charge
    from semfed_secure.units import PrivacyDeclaration


class Door:
    """Held by everything that came through a step of the release; nobody else makes one."""


DOOR = Door()
"""For `semfed_secure.client.release` alone."""


@dataclass(frozen=True, slots=True)
class PermittedOutputs:
    """Outputs that the policy permits to leave, once protected. Only `permit` makes one."""

    draft: DraftOutputs
    outputs: Outputs
    charge: Charge | None
    door: Door

    def __post_init__(self) -> None:
        """Refuse a shortcut."""
        _came_through(self.door)


@dataclass(frozen=True, slots=True)
class ReleasedOutputs:
    """Protected outputs: what others may see. Only `privatise` makes one."""

    round: VerifiedRound
    votes: tuple[int, ...] = field(repr=False)
    texts: tuple[str | None, ...] = field(repr=False)
    from_caller: bool
    alike: int
    privacy: PrivacyDeclaration
    charge: Charge | None
    door: Door

    def __post_init__(self) -> None:
        """Refuse a shortcut."""
        _came_through(self.door)


def _came_through(door: object) -> None:
    if door is not DOOR:
        raise TypeError("outputs come through the steps of semfed_secure.client.release only")
