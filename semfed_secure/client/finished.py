"""What lies in the outbox is what this site signed: checked before every sending."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.client.outgoing import COMMITMENT
from semfed_secure.crypto.signing import verify
from semfed_secure.errors import IntegrityError, PeerError
from semfed_secure.ids import sha256
from semfed_secure.wire.messages import STATEMENT_LIMITS, MessageType, parse_contribution, parse_statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.crypto.keys import VerificationKey
    from semfed_secure.storage.outbox_rows import OutboxRow


def require_finished(row: OutboxRow, keys: Sequence[VerificationKey]) -> None:
    """Accept only the statement that the row names, signed by one of ``keys``, with exactly the ciphertext it names.

    A commitment has none with it.

    A bundle that was changed on disk never leaves: the server would refuse it for good, as this site's answer.

    Raises:
        IntegrityError: SF531.
    """
    try:
        contribution = parse_contribution(row.body)
        signed = verify(MessageType.STATEMENT, contribution.statement, keys, limits=STATEMENT_LIMITS)
        statement = parse_statement(signed.payload)
    except PeerError as error:
        raise _changed(row, cause=error.code) from error
    sealed = tuple(sha256(blob) for blob in contribution.sealed)
    named = () if row.kind == COMMITMENT else statement.ciphertext_digests
    if (statement.digest, named) != (row.statement_digest, sealed):
        raise _changed(row)


def _changed(row: OutboxRow, **fields: str) -> IntegrityError:
    return IntegrityError("SF531", f"the finished bundle of {row.round_id} is not the one that was signed", **fields)
