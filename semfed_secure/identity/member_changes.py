"""What a member does with its own record after its keys are made: ask to be enrolled, and change its signing key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from semfed_secure.clock import to_ms
from semfed_secure.crypto.key_files import save_key
from semfed_secure.crypto.private import Secret
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.enrolment import make_request
from semfed_secure.identity.files import make_private_directory, read_bounded, refuse_existing, replace_file, write_new
from semfed_secure.identity.member_files import (
    LOG_FILE,
    OPENING_FILE,
    RECORD_FILE,
    SIGNING_FILE,
    load_member_keys,
    new_signing_key,
)
from semfed_secure.identity.records import MAX_RECORD_BYTES, MemberRecord, create_record, verify_record

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path

    from semfed_secure.crypto.key_files import OpenPart
    from semfed_secure.crypto.parts import PrivatePart

REQUEST_FILE = "enrolment.request"


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a rotated record is in force, and how long the key before it still counts."""

    valid_for: timedelta
    overlap: timedelta


def write_request(directory: Path, token: bytes) -> Path:
    """Bind the record in a key directory to a token of the federation root, anew if need be; give the file to send.

    Raises:
        ConfigurationError: ``SF102`` there is no record; or the request cannot be written; ``SF104`` not a token.
        PeerError: ``SF331`` the record does not verify.
    """
    record = read_bounded(directory / RECORD_FILE, MAX_RECORD_BYTES)
    verify_record(record)
    replace_file(directory / REQUEST_FILE, make_request(record, token))
    return directory / REQUEST_FILE


def rotate_member_keys(
    directory: Path,
    out: Path,
    *,
    passphrase: bytes,
    now: datetime,
    terms: Terms,
    before_outside: OpenPart | None = None,
    outside: PrivatePart | None = None,
) -> MemberRecord:
    """Make a new signing key in ``out``, and the record that the key before it signs too.

    The log's key stays, because the log does, and so does a server's opening key. ``directory`` is not touched: its
    key counts until the overlap ends, so that what has begun with it can be finished.

    Args:
        directory: The key directory in use.
        out: The new one.
        passphrase: Of the key files in both.
        now: When the new record's term begins.
        terms: How long it lasts.
        before_outside: Finds the classical part of the key in use if no file holds it.
        outside: The classical part of the new key if that lies in an HSM or a key service.

    Raises:
        ConfigurationError: ``SF105`` the overlap is longer than the record's term; otherwise as `load_member_keys` and
            `create_member_keys`.
    """
    hidden = Secret(passphrase)
    del passphrase
    if terms.overlap >= terms.valid_for:
        raise ConfigurationError("SF105", "an overlap that ends before the new record does was expected")
    before = load_member_keys(directory, hidden.reveal(), outside=before_outside)
    signing = new_signing_key(before.record.suite, outside)
    record = replace(
        before.record,
        signing_keys=(signing.public, before.signing.public),
        valid_from_ms=to_ms(now),
        valid_until_ms=to_ms(now + terms.valid_for),
        sequence=before.record.sequence + 1,
        overlap_until_ms=to_ms(now + terms.overlap),
    )
    signed = create_record(record, [signing, before.signing])
    make_private_directory(out)
    refuse_existing(*(out / name for name in (SIGNING_FILE, OPENING_FILE, LOG_FILE, RECORD_FILE)))
    for name, key in ((SIGNING_FILE, signing), (OPENING_FILE, before.opening), (LOG_FILE, before.log)):
        if key is not None:
            save_key(out / name, key, hidden.reveal())
    write_new(out / RECORD_FILE, signed)
    return record
