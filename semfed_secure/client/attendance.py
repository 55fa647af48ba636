"""Taking part in rounds from one process: train once, then contribute, wait and learn, round after round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.client.adapters import active_adapter
from semfed_secure.client.progress import RoundState
from semfed_secure.client.records import iter_records
from semfed_secure.clock import from_ms
from semfed_secure.errors import ConsensusError, PeerError, RefusedError, SemfedError
from semfed_secure.units import Mechanism

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.client.learning import LearnOutcome
    from semfed_secure.client.session import Client, Round
    from semfed_secure.wire.messages import Receipt

GRACE_SECONDS = 900.0
"""How long after its closing time a round may take to form its consensus."""
_NOT_YET_COLLECTED = frozenset({RoundState.JOINED, RoundState.TRAINED, RoundState.RELEASED})


@dataclass(frozen=True, slots=True)
class Attendance:
    """What came of one round: each part is None if it was not reached; ``error`` says why.

    A refusal of this site's own policy or budget, a late or a rejected bundle do not keep it from learning what the
    others agree on.
    """

    round_id: str
    receipt: Receipt | None
    learned: LearnOutcome | None
    error: SemfedError | None


def attend(client: Client, round_id: str, *, records: Path | None) -> Attendance:
    """Take part in one round from where this site stands; nothing that was done is done again.

    Private training happens once: in the first round of a site whose active adapter has seen no private record.

    Raises:
        PeerError: SF341, the server cannot be reached.
        IntegrityError: SF5xx, this site's own records do not add up: then nothing goes on.
    """
    receipt, learned, refusal = None, None, None
    try:
        joined = client.join(round_id)
    except SemfedError as error:
        return Attendance(round_id, None, None, _of_this_round(error))
    try:
        if joined.state in _NOT_YET_COLLECTED:
            _contribute(client, joined, records)
    except SemfedError as error:
        refusal = _of_this_round(error)
    try:
        remaining = from_ms(joined.manifest.ends_at_ms) - client.site.clock.now()
        consensus = joined.wait_for_consensus(max(0.0, remaining.total_seconds()) + GRACE_SECONDS)
        learned = joined.learn(consensus)
    except SemfedError as error:
        refusal = refusal or _of_this_round(error)
    try:
        receipt = joined.receipt
    except SemfedError as error:
        refusal = refusal or _of_this_round(error)
    return Attendance(round_id, receipt, learned, refusal)


def _of_this_round(error: SemfedError) -> SemfedError:
    """``error`` if it concerns this round only; what would meet the next round as well is raised."""
    if error.code == "SF341" or not isinstance(error, (RefusedError, PeerError, ConsensusError)):
        raise error
    return error


def _contribute(client: Client, joined: Round, records: Path | None) -> None:
    if client.site.config.privacy.mechanism is Mechanism.RECORD_HISTOGRAM:
        joined.contribute(records=None if records is None else iter_records(records))
        return
    with client.site.database.snapshot() as tx:
        adapter = active_adapter(tx)
    if records is not None and joined.state is RoundState.JOINED and (adapter is None or not adapter.charges):
        joined.train(iter_records(records))
    joined.contribute()
