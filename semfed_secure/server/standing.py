"""What a server remembers of its clients: nothing but the reports of its latest published rounds.

There is no other memory, so whoever holds the reports can recompute every weight. The log states the digest of each
report when its round is published; a report that is not that one, or whose entry is gone, says nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.consensus.reputation import ROUNDS, Conduct
from semfed_secure.identity.records import Role
from semfed_secure.ids import RoundId, hex_digest, sha256
from semfed_secure.server.round import RoundState
from semfed_secure.storage import pin_rows, round_rows

if TYPE_CHECKING:
    from semfed_secure.audit.log import AuditLog
    from semfed_secure.ids import MemberId
    from semfed_secure.server.context import ServerContext
    from semfed_secure.storage import Transaction

PUBLISHED = "consensus/{}/entry"
"""Pin that holds the number of the log entry that published a round's consensus."""
_RESET = "standing/{}/entry"


def report_digest(report: str) -> str:
    """What the log states of a round report when its round is published."""
    return hex_digest(sha256(report.encode()))


def remembered_rounds(tx: Transaction, audit: AuditLog) -> dict[RoundId, dict[str, Conduct]]:
    """How each member fared in the latest published rounds, the newest first by closing time.

    Rounds of proposals say nothing: there, to answer otherwise than the others is what is asked for.
    """
    heads = [head for head in round_rows.list_round_heads(tx) if head.state == RoundState.PUBLISHED]
    rounds = {}
    for head in reversed(heads[-ROUNDS:]):
        number = _noted(tx, PUBLISHED.format(head.round_id))
        report = round_rows.read_report(tx, head.round_id)
        entries = [] if number is None else audit.entries(number, number + 1, tx)
        if report and entries and entries[0].event.details.get("report_digest") == report_digest(report):
            document = json.loads(report)
            if document["rule"] == "proposals":
                continue
            rounds[RoundId(head.round_id)] = {
                client["member"]: Conduct(client["behaviour_ppm"], client["anchors_right"], client["anchors_seen"])
                for group in document["groups"]
                for client in group["clients"]
                if (_noted(tx, _RESET.format(client["member"])) or -1) < entries[0].seq
            }
    return rounds


def reset_standing(context: ServerContext, member: MemberId, reason: str) -> int:
    """Forget how a client fared in every round published so far; the number of the log entry that says so.

    Raises:
        PeerError: ``SF306`` the roster in force lists no such client.
    """
    context.rosters.current().member(member, role=Role.CLIENT, at=context.clock.now())
    event = Event(type=EventType.STANDING_RESET, outcome="success", actor=context.member, target=member, reason=reason)
    with context.database.transaction() as tx:
        number = context.audit.append(event, tx)
        name = _RESET.format(member)
        before = pin_rows.read_pin(tx, name)
        pin_rows.replace_pin(tx, name, expected=before, value=number.to_bytes(8, "big"))
    return number


def _noted(tx: Transaction, name: str) -> int | None:
    noted = pin_rows.read_pin(tx, name)
    return None if noted is None else int.from_bytes(noted, "big")
