"""What a site asks of a round that it has verified, before it takes part: its time, its log, its floor, its own key."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from semfed_secure.audit.witnesses import vouching
from semfed_secure.clock import from_ms, to_iso, to_ms
from semfed_secure.errors import ConsensusError, PeerError

if TYPE_CHECKING:
    from datetime import datetime

    from semfed_secure.client.round import VerifiedRound
    from semfed_secure.crypto.keys import VerificationKey
    from semfed_secure.units import Mechanism
    from semfed_secure.wire.messages import RoundManifest


def require_open(manifest: RoundManifest, now: datetime) -> None:
    """Accept only a round that takes contributions at ``now``.

    Raises:
        ConsensusError: SF401 before it opens, SF404 after it closed.
    """
    if to_ms(now) < manifest.opens_at_ms:
        raise ConsensusError("SF401", f"the round opens at {to_iso(from_ms(manifest.opens_at_ms))}")
    if to_ms(now) >= manifest.closes_at_ms:
        raise ConsensusError("SF404", f"the round closed at {to_iso(from_ms(manifest.closes_at_ms))}")


def require_witnesses(round_: VerifiedRound, least: int, now: datetime) -> int:
    """Accept only a round whose log at least so many organisations vouch for; how many do.

    Raises:
        PeerError: SF330.
    """
    found = vouching(round_.manifest.log_checkpoint, round_.roster, server=round_.server, now=now)
    if len(found) < least:
        raise PeerError(
            "SF330", f"{least} witnesses of the server's log were expected, {len(found)} vouch for what it shows"
        )
    return len(found)


def require_own_key(round_: VerifiedRound, key: VerificationKey, now: datetime) -> None:
    """Accept only a signing key of this site that the server will take in this round.

    The server asks two rosters: the one that the manifest pins, and the newest. Of the pinned one, if it is older, this
    site knows nothing but that a key was not on it that begins later, and that the key before was; so during an overlap
    the key before signs such rounds.

    Raises:
        PeerError: SF307.
    """
    manifest, member = round_.manifest, round_.member
    keys = member.keys_at(now)
    if key not in keys:
        raise PeerError(
            "SF307", "a signing key that the roster lists for this site was expected; sign with one that it lists"
        )
    is_new = len(keys) > 1 or manifest.opens_at_ms < member.valid_from_ms
    if manifest.roster_sequence < round_.roster.sequence and is_new and key == keys[0]:
        raise PeerError("SF307", "a signing key from before this round was expected; sign with the key before, or wait")


def require_opening(manifest: RoundManifest, now: datetime) -> None:
    """Accept only a round in which commitments may still be opened at ``now``.

    Raises:
        ConsensusError: SF404 after that time, and where nothing is committed to.
    """
    if manifest.opening_ends_at_ms is None or to_ms(now) >= manifest.opening_ends_at_ms:
        raise ConsensusError("SF404", "the time to open what was committed to is over")


def require_admissible(manifest: RoundManifest, *, mechanism: Mechanism, epsilon: Decimal, delta: Decimal) -> None:
    """Accept only a round that admits what this site would declare; otherwise the release would be paid for nothing.

    Raises:
        PeerError: SF310.
    """
    floor = manifest.dp_floor
    admitted = mechanism in floor.mechanisms and epsilon <= Decimal(floor.max_epsilon)
    if not admitted or delta > Decimal(floor.max_delta):
        raise PeerError(
            "SF310",
            f"the round admits epsilon up to {floor.max_epsilon} at delta {floor.max_delta} by "
            f"{', '.join(floor.mechanisms)}; this site would declare {epsilon} at {delta} by {mechanism}",
        )
