"""The office of a federation root: its directory and its own audit log, which change together.

::

    root.db      the log, the invitations in it, and the newest roster until it is published
    log-1.key …  the key of the log, sealed once under each passphrase of the root keys

Whoever brings one root key's passphrase can write the log; only the threshold of root keys signs a roster.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from semfed_secure.audit.events import EventType
from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.verify import verify_log
from semfed_secure.crypto.key_files import load_log_key, save_key
from semfed_secure.crypto.keys import Suite
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.crypto.private import Secret
from semfed_secure.errors import ConfigurationError, IntegrityError, PeerError
from semfed_secure.federation.entries import (
    enrolled_event,
    invited_event,
    key_event,
    refused_event,
    revoked_event,
    signed_event,
)
from semfed_secure.federation.invitations import require_next, require_redeemable
from semfed_secure.identity.enrolment import Application, Invitation, Invitee, new_token, read_application, token_key_id
from semfed_secure.identity.federation_files import ROSTER_FILE, FederationDirectory, SignedRoster, found_federation
from semfed_secure.identity.files import read_bounded
from semfed_secure.identity.roster import MAX_ROSTER_FILE_BYTES
from semfed_secure.storage import Database
from semfed_secure.storage.pin_rows import read_pin, replace_pin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

    from semfed_secure.audit.events import Event
    from semfed_secure.clock import Clock, Randomness
    from semfed_secure.crypto.keys import SigningKey
    from semfed_secure.identity.records import MemberRecord
    from semfed_secure.identity.roster import Revocation, Roster
    from semfed_secure.ids import FederationId, MemberId
    from semfed_secure.storage import Transaction

DATABASE_FILE = "root.db"
_NEWEST = "roster/newest"


class RootOffice:
    """Invites, enrols, rotates, renews and revokes.

    Guarantee: a roster and the entries about it are stored in one transaction before the roster is published, so no
    roster is ever handed out that the root's log does not know, and none is lost by a crash in between.
    """

    def __init__(self, directory: FederationDirectory, database: Database, audit: AuditLog, clock: Clock) -> None:
        """Take up where the database says; `open_office` calls this."""
        self._directory, self._database, self._audit, self._clock = directory, database, audit, clock
        with database.transaction() as tx:
            self._publish_stored(tx)

    @property
    def directory(self) -> FederationDirectory:
        """The root's files."""
        return self._directory

    def note(self, event: Event) -> None:
        """Write one entry of its own, about what the root did besides rosters."""
        self._audit.append(event)

    def invite(
        self,
        invitee: Invitee,
        *,
        valid_for: timedelta,
        randomness: Randomness,
        deliver: Callable[[bytes], None],
    ) -> Invitation:
        """Make a token with which one record of ``invitee`` may be enrolled, once; only its digest is kept.

        The token goes to ``deliver`` alone; where that raises, there is no invitation.
        """
        token = new_token(randomness)
        invitation = Invitation(invitee, token_key_id(token), self._clock.now() + valid_for)
        with self._database.transaction() as tx:
            self._audit.append(invited_event(invitation), tx)
            deliver(token)
        return invitation

    def enrol(
        self, submitted: Sequence[bytes], *, keys: Sequence[SigningKey], valid_for: timedelta, without_token: bool
    ) -> tuple[MemberRecord, ...]:
        """Sign one roster with all of these records and requests in it, or none; a refusal is an entry too.

        New keys need somebody who vouches for them: a token of ours, or the key before them, which signs them too.
        Roles, domain and jurisdiction are granted by an invitation, or by the operator: ``without_token`` is for
        records that the operator has compared with the member in person, key ids and all.

        Raises:
            PeerError: ``SF332`` to ``SF334`` the token; ``SF335`` nobody vouches; ``SF336`` somebody does, but for
                less than the record says; else as `FederationDirectory.with_members`.
        """
        now, application = self._clock.now(), None
        try:
            with self._database.transaction() as tx:
                self._publish_stored(tx)  # what another process has signed and not published yet comes first
                roster, applications = self._directory.newest(), list[Application]()
                for data in submitted:
                    application = None
                    application = read_application(data)
                    kind, voucher = self._vouched(tx, application, roster, now, without_token=without_token)
                    self._audit.append(enrolled_event(kind, application, voucher), tx)
                    applications.append(application)
                records = [each.record for each in applications]
                signed = self._directory.with_members(records, keys=keys, now=now, valid_for=valid_for)
                self._store(tx, signed, keys)
        except PeerError as error:
            self._audit.append(refused_event(application, error))
            raise
        self._directory.publish(signed)
        return tuple(each.member for each in applications)

    def revoke(
        self, member_id: MemberId, *, reason: str, keys: Sequence[SigningKey], valid_for: timedelta
    ) -> tuple[int, Revocation]:
        """Revoke a member's present record from now on; the number of the revocation, and the revocation.

        Raises:
            PeerError: As `FederationDirectory.with_revocation`.
        """
        with self._database.transaction() as tx:
            self._publish_stored(tx)
            signed = self._directory.with_revocation(
                member_id, reason=reason, keys=keys, now=self._clock.now(), valid_for=valid_for
            )
            number, revocation = len(signed.roster.revocations), signed.roster.revocations[-1]
            self._audit.append(revoked_event(revocation, number, signed), tx)
            self._store(tx, signed, keys)
        self._directory.publish(signed)
        return number, revocation

    def renew(self, *, keys: Sequence[SigningKey], valid_for: timedelta) -> None:
        """Sign a roster with the same records and revocations, in force from now on.

        Raises:
            PeerError: ``SF322`` too few ``keys``.
        """
        with self._database.transaction() as tx:
            self._publish_stored(tx)
            signed = self._directory.renewed(keys=keys, now=self._clock.now(), valid_for=valid_for)
            self._store(tx, signed, keys)
        self._directory.publish(signed)

    def _vouched(
        self, tx: Transaction, application: Application, roster: Roster, now: datetime, *, without_token: bool
    ) -> tuple[EventType, str]:
        """What enrolling this is, and who vouches for its keys; the entry about it uses up a token."""
        member = application.member
        if application.token_key_id is not None:
            entries = self._audit.entries(0, self._audit.size(tx), tx)
            require_redeemable(entries, application.token_key_id, member, now=now)
            return EventType.MEMBER_ADDED, "a one-time token"
        if without_token:
            return EventType.MEMBER_ADDED, "the operator, without a token"
        for known in roster.records:
            before = known.signing_keys[0]
            if known.member_id != member.member_id or before not in member.signing_keys:
                continue
            if known.valid_at(now) and not roster.revoked(known, at=now):
                require_next(member, known)
                if before == member.signing_keys[0]:
                    return EventType.MEMBER_ADDED, "the same key"
                return EventType.MEMBER_ROTATED, "the key before"
        raise PeerError("SF335", f"a token, or the signature of the key before, was expected of {member.member_id}")

    def _store(self, tx: Transaction, signed: SignedRoster, keys: Sequence[SigningKey]) -> None:
        replace_pin(tx, _NEWEST, expected=read_pin(tx, _NEWEST), value=signed.data)
        self._audit.append(signed_event(signed, keys), tx)

    def _publish_stored(self, tx: Transaction) -> None:
        stored = read_pin(tx, _NEWEST)
        if stored is not None:
            signed = self._directory.read_signed(stored)
            self._directory.publish(signed)
        if stored is None or self._directory.newest().digest != signed.roster.digest:
            raise IntegrityError("SF507", "a root.db that knows the newest roster was expected")


def found_office(
    directory: Path,
    *,
    federation: FederationId,
    root_keys: int,
    threshold: int,
    passphrases: Sequence[bytes],
    clock: Clock,
    valid_for: timedelta,
    sequence: int = 1,
    suite: Suite = Suite.HYBRID_PQ,
) -> None:
    """Generate root keys and the log's key, sign the first roster, which is empty, and begin the log.

    Raises:
        ConfigurationError: As `found_federation`.
    """
    hidden = [Secret(passphrase) for passphrase in passphrases]
    del passphrases
    keys = found_federation(
        directory,
        federation=federation,
        root_keys=root_keys,
        threshold=threshold,
        passphrases=[each.reveal() for each in hidden],
        now=clock.now(),
        valid_for=valid_for,
        sequence=sequence,
        suite=suite,
    )
    log_key = LogSigningKey.generate(f"{federation}/root")
    for number, passphrase in enumerate(hidden, 1):
        save_key(_log_key_path(directory, number), log_key, passphrase.reveal())
    with _opened(directory, log_key, clock) as (database, audit):
        events = [key_event(EventType.KEY_CREATED, key.key_id, key.public.suite.value, "root key") for key in keys]
        files = FederationDirectory(directory)
        signed = files.read_signed(read_bounded(directory / ROSTER_FILE, MAX_ROSTER_FILE_BYTES))
        with database.transaction() as tx:
            audit.append_all([*events, signed_event(signed, keys[:threshold])], tx)
            replace_pin(tx, _NEWEST, expected=None, value=signed.data)


@contextmanager
def open_office(directory: Path, *, passphrases: Sequence[bytes], clock: Clock) -> Iterator[RootOffice]:
    """Open the directory that `found_office` made; one of ``passphrases`` opens the log's key.

    Raises:
        ConfigurationError: ``SF102`` something is missing; ``SF121`` no passphrase opens the log's key.
        PeerError: ``SF322`` the roster does not verify under the root file.
        IntegrityError: ``SF507`` the database is gone, or older than the newest roster; the database is damaged, or
            the log does not verify as a whole.
    """
    hidden = [Secret(passphrase) for passphrase in passphrases]
    del passphrases
    files = FederationDirectory(directory)
    files.newest()
    key = _load_log_key(directory, hidden)
    if not (directory / DATABASE_FILE).exists():
        raise IntegrityError("SF507", f"the log of the root was expected at {directory / DATABASE_FILE}")
    with _opened(directory, key, clock) as (database, audit):
        verify_log(directory / DATABASE_FILE, key=key.public.encode())
        yield RootOffice(files, database, audit, clock)


@contextmanager
def _opened(directory: Path, key: LogSigningKey, clock: Clock) -> Iterator[tuple[Database, AuditLog]]:
    with Database.open(directory / DATABASE_FILE, kind="root") as database:
        yield database, AuditLog(database, key=key, clock=clock, writer="semfed federation")


def _log_key_path(directory: Path, number: int) -> Path:
    return directory / f"log-{number}.key"


def _load_log_key(directory: Path, passphrases: Sequence[Secret]) -> LogSigningKey:
    paths = sorted(directory.glob("log-*.key"))
    if not paths:
        raise ConfigurationError("SF102", f"the key of the root's log was expected at {_log_key_path(directory, 1)}")
    for passphrase in passphrases:
        for path in paths:
            try:
                return load_log_key(path, passphrase.reveal())
            except ConfigurationError as error:
                if error.code != "SF121":
                    raise
    raise ConfigurationError("SF121", "a passphrase of the root keys was expected: none opens the key of the log")
