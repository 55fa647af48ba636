"""What somebody with write access to a log's database can do to it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from semfed_secure.audit import notes
from semfed_secure.audit.events import encode_entry, parse_entry
from semfed_secure.audit.merkle import Frontier, leaf_hash
from semfed_secure.audit.verify import verify_log
from semfed_secure.errors import IntegrityError
from semfed_secure.storage import log_guard, log_rows
from semfed_secure.storage.log_rows import EntryRow, NodeRow

if TYPE_CHECKING:
    from semfed_secure.crypto.log_keys import LogSigningKey
    from tests.audit.samples import Site


def sql(site: Site, *statements: str) -> None:
    """Change the database behind the log's back."""
    with site.database.transaction() as tx:
        log_guard.lift(tx.connection)
        for statement in statements:
            tx.connection.execute(text(statement))


def refusal(site: Site, *, known: tuple[str, ...] = ()) -> IntegrityError:
    """The error that this log earns now."""
    with pytest.raises(IntegrityError) as caught:
        verify_log(site.path, key=site.vkey, known=known)
    return caught.value


def rebuild(site: Site, bodies: list[bytes], *, signer: LogSigningKey | None = None) -> None:
    """What an intruder with write access makes: a consistent tree over other entries, signed if he has the key."""
    frontier, entries, nodes = Frontier(), [], []
    for position, body in enumerate(bodies):
        entries.append(EntryRow(position, leaf_hash(body), body))
        nodes += [NodeRow(level, place, value) for (level, place), value in frontier.add(entries[-1].leaf_hash)]
    with site.database.transaction() as tx:
        log_guard.lift(tx.connection)
        head = log_rows.read_head(tx)
        assert head is not None
        note = head.checkpoint
        if signer is not None:
            checkpoint = notes.Checkpoint(signer.name, frontier.size, frontier.root())
            note = notes.sign_checkpoint(checkpoint, signer, cosigned_at=1)
            tx.connection.execute(text("DELETE FROM log_checkpoint"))
        for table in ("log_entry", "log_node"):
            tx.connection.execute(text(f"DELETE FROM {table}"))
        log_rows.insert_entries(tx, entries)
        log_rows.insert_nodes(tx, nodes)
        log_rows.advance_head(tx, old_size=head.size, size=frontier.size, frontier=frontier.encode(), checkpoint=note)


def bodies_of(site: Site) -> list[bytes]:
    """The stored entries."""
    with site.database.snapshot() as tx:
        return [row.body for row in log_rows.walk_entries(tx)]


def forge(body: bytes) -> bytes:
    """A well-formed entry that tells another story."""
    entry = parse_entry(body)
    return encode_entry(replace(entry, event=entry.event.model_copy(update={"actor": "somebody else"})))
