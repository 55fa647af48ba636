"""Where rounds stand: all that can be said from the database and the rosters, without any key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.identity.records import Role
from semfed_secure.server.reporting import status_document
from semfed_secure.server.round import RoundState
from semfed_secure.server.store import RoundStore
from semfed_secure.server.stored import read_commitments, read_report, require_contributions, server_keys
from semfed_secure.storage import round_rows

if TYPE_CHECKING:
    from semfed_secure.clock import Clock
    from semfed_secure.ids import RoundId
    from semfed_secure.server.rosters import RosterKeeper
    from semfed_secure.server.stored import StoredTerms
    from semfed_secure.storage import Database
    from semfed_secure.storage.round_rows import RoundHeadRow


class Overview:
    """Reads rounds and who is expected in them; changes nothing."""

    def __init__(self, database: Database, rosters: RosterKeeper, clock: Clock) -> None:
        """Read from ``database``."""
        self._database, self._rosters, self._clock = database, rosters, clock
        self.store = RoundStore(database, rosters)
        """Rounds as the database holds them."""

    def rounds(self) -> list[RoundHeadRow]:
        """Where every round stands, by closing time."""
        with self._database.snapshot() as tx:
            return round_rows.list_round_heads(tx)

    def status(self, round_id: RoundId) -> dict[str, object]:
        """Where a round stands, with names and the round report: for the operator.

        Every signed message that the database holds of the round has verified.

        Raises:
            PeerError: ``SF304`` there is no such round.
            IntegrityError: ``SF531`` what is stored is not what was signed.
        """
        terms = self.store.terms(round_id)
        with self._database.snapshot() as tx:  # both at once: the payloads go when the state becomes a final one
            head = round_rows.read_round_head(tx, round_id)
            rows = round_rows.list_contributions(tx, round_id)
        assert head is not None  # INVARIANT: rounds are never deleted
        own = server_keys(terms, self._rosters.current())
        require_contributions(rows, terms, own, state=RoundState.stored(head.state))
        row = self.store.row(round_id)
        read_commitments(row, terms, own)
        report = read_report(row, terms, own)
        revoked = {"revoked": sorted(self.revoked(terms))}  # also after publishing, which nothing changes
        return status_document(head, terms, rows, expected=self.expected(terms)) | revoked | {"report": report}

    def expected(self, terms: StoredTerms) -> list[str]:
        """The clients of the pinned roster that may still contribute, by id."""
        revoked = self.revoked(terms)
        members = terms.roster.members(role=Role.CLIENT, at=self._clock.now())
        return [member.member_id for member in members if member.member_id not in revoked]

    def revoked(self, terms: StoredTerms) -> set[str]:
        """Members of the pinned roster that are revoked by now."""
        now, current = self._clock.now(), self._rosters.current()
        return {record.member_id for record in terms.roster.records if current.revoked(record, at=now)}
