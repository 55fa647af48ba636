"""A member's key directory: its private keys, and the record that its federation root signs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.clock import to_ms
from semfed_secure.crypto.key_files import load_log_key, load_opening_key, load_signing_key, save_key
from semfed_secure.crypto.keys import OpeningKey, SigningKey, Suite
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.crypto.private import Secret
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.files import make_private_directory, read_bounded, refuse_existing, write_new
from semfed_secure.identity.records import MAX_RECORD_BYTES, MemberRecord, Role, create_record, verify_record

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path

    from semfed_secure.crypto.key_files import OpenPart
    from semfed_secure.crypto.parts import PrivatePart
    from semfed_secure.ids import FederationId, MemberId

SIGNING_FILE, OPENING_FILE, LOG_FILE, RECORD_FILE = "signing.key", "opening.key", "log.key", "member.record"
ROLES_THAT_OPEN = frozenset({Role.SERVER, Role.HELPER})
"""Only these receive sealed outputs, so only these hold an opening key."""


@dataclass(frozen=True, slots=True)
class MemberKeys:
    """A member's own record and the private halves of the keys in it."""

    record: MemberRecord
    signing: SigningKey
    opening: OpeningKey | None
    log: LogSigningKey


def create_member_keys(
    directory: Path,
    *,
    federation: FederationId,
    member_id: MemberId,
    domain: str,
    jurisdiction: str,
    roles: frozenset[Role],
    passphrase: bytes,
    now: datetime,
    valid_for: timedelta,
    sequence: int = 1,
    suite: Suite = Suite.HYBRID_PQ,
    outside: PrivatePart | None = None,
) -> MemberKeys:
    """Generate a member's keys, keep them in ``directory``, and write the record for its federation root.

    No existing file is touched. For new keys of a known member, use a new directory and a higher ``sequence``. The
    part of the signing key that lies ``outside`` is used where it is; all other keys are in the files.

    Raises:
        ConfigurationError: ``SF105`` a field is out of range; ``SF123`` a key file exists; ``SF102`` cannot write;
            ``SF125`` the part outside does not sign, or is not of the suite.
    """
    hidden = Secret(passphrase)
    del passphrase
    signing, log = new_signing_key(suite, outside), _log_key(domain, federation, member_id)
    opening = OpeningKey.generate(suite) if roles & ROLES_THAT_OPEN else None
    record = MemberRecord(
        federation=federation,
        member_id=member_id,
        domain=domain,
        jurisdiction=jurisdiction,
        roles=roles,
        signing_keys=(signing.public,),
        sealing_key=opening.public if opening else None,
        log_key=log.public.encode(),
        valid_from_ms=to_ms(now),
        valid_until_ms=to_ms(now + valid_for),
        sequence=sequence,
    )
    signed = create_record(record, [signing])  # refuses bad fields before anything is written
    make_private_directory(directory)
    refuse_existing(*(directory / name for name in (SIGNING_FILE, OPENING_FILE, LOG_FILE, RECORD_FILE)))
    for name, key in ((SIGNING_FILE, signing), (OPENING_FILE, opening), (LOG_FILE, log)):
        if key is not None:
            save_key(directory / name, key, hidden.reveal())
    write_new(directory / RECORD_FILE, signed)
    return MemberKeys(record, signing, opening, log)


def load_member_record(directory: Path) -> MemberRecord:
    """Read and verify the record in a key directory; needs no passphrase.

    Raises:
        ConfigurationError: ``SF102``.
        PeerError: ``SF331``.
    """
    return verify_record(read_bounded(directory / RECORD_FILE, MAX_RECORD_BYTES))


def load_member_keys(directory: Path, passphrase: bytes, *, outside: OpenPart | None = None) -> MemberKeys:
    """Load a member's record and its private keys, which are exactly those that the record names.

    Args:
        directory: The key directory.
        passphrase: Of its key files.
        outside: Finds the classical part of the signing key if no file holds it.

    Raises:
        ConfigurationError: ``SF102`` a file is missing; ``SF122`` others can read one; ``SF121`` wrong passphrase,
            a damaged file, or a key that is not the record's; ``SF125`` the part outside, see `load_signing_key`.
        PeerError: ``SF331``.
    """
    hidden = Secret(passphrase)
    del passphrase
    record = load_member_record(directory)
    signing = load_signing_key(directory / SIGNING_FILE, hidden.reveal(), outside=outside)
    log = load_log_key(directory / LOG_FILE, hidden.reveal())
    opening = None
    if record.sealing_key is not None:
        opening = load_opening_key(directory / OPENING_FILE, hidden.reveal())
    found = (signing.public, opening.public if opening else None, log.public.encode())
    if found[0] not in record.signing_keys or found[1:] != (record.sealing_key, record.log_key):
        raise ConfigurationError("SF121", f"the keys of the record in {directory} were expected, found others")
    return MemberKeys(record, signing, opening, log)


def new_signing_key(suite: Suite, outside: PrivatePart | None) -> SigningKey:
    """A new key of ``suite``, around the part that lies ``outside``, if any.

    Raises:
        ConfigurationError: ``SF125`` the suite has no place for that part.
    """
    try:
        return SigningKey.generate(suite, outside=outside)
    except ValueError as error:
        raise ConfigurationError("SF125", str(error)) from None


def _log_key(domain: str, federation: FederationId, member_id: MemberId) -> LogSigningKey:
    try:
        return LogSigningKey.generate(f"{domain}/{federation}/{member_id}")
    except ValueError:
        raise ConfigurationError("SF105", "a domain such as north-clinic.example was expected") from None
