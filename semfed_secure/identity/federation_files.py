"""The directory of a federation root: its public root, its private root keys, and every roster it signed.

::

    federation.root     what members pin
    root-1.key …        one per root key, each sealed under a passphrase; each may lie with another person
    rosters/0000001     every roster, by sequence
    roster              a copy of the newest, to hand out

Nothing is written down here: `semfed_secure.federation` does all of this together with the root's own audit log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.clock import from_ms, to_iso, to_ms
from semfed_secure.crypto.key_files import check_passphrase, load_signing_key, save_key
from semfed_secure.crypto.keys import SigningKey, Suite
from semfed_secure.crypto.private import Secret
from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.identity.files import (
    make_private_directory,
    read_bounded,
    refuse_existing,
    replace_file,
    write_new,
)
from semfed_secure.identity.records import verify_record
from semfed_secure.identity.root import MAX_ROOT_BYTES, FederationRoot
from semfed_secure.identity.roster import (
    MAX_ROSTER_FILE_BYTES,
    Revocation,
    Roster,
    roster_records,
    sign_roster,
    verify_roster,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

    from semfed_secure.identity.records import MemberRecord
    from semfed_secure.ids import FederationId, MemberId

ROOT_FILE, ROSTER_FILE, HISTORY = "federation.root", "roster", "rosters"
MAX_SEQUENCE_STEP = 1_000_000
"""How far above the record before a new one may be: no record takes the sequences away from those after it."""


def load_root(path: Path) -> FederationRoot:
    """Read a root file.

    Raises:
        ConfigurationError: ``SF102``.
        PeerError: ``SF301``, ``SF302`` or ``SF303``.
    """
    return FederationRoot.parse(read_bounded(path, MAX_ROOT_BYTES))


def found_federation(
    directory: Path,
    *,
    federation: FederationId,
    root_keys: int,
    threshold: int,
    passphrases: Sequence[bytes],
    now: datetime,
    valid_for: timedelta,
    sequence: int = 1,
    suite: Suite = Suite.HYBRID_PQ,
) -> list[SigningKey]:
    """Generate root keys, write the root file, and sign the first roster, which is empty; gives the keys.

    Where these keys take the place of a root before, ``sequence`` is higher than that of any roster which that signed.
    No existing file is touched. There is one passphrase for all root keys, or one for each in the order of the keys.

    Raises:
        ConfigurationError: ``SF105`` a field is out of range, or another number of passphrases; ``SF123`` a file
            exists; ``SF102`` cannot write.
    """
    hidden = [Secret(passphrase) for passphrase in passphrases]
    del passphrases
    if len(hidden) not in {1, root_keys}:
        raise ConfigurationError("SF105", f"1 or {root_keys} passphrases were expected, found {len(hidden)}")
    for passphrase in hidden:
        check_passphrase(passphrase)
    keys = [SigningKey.generate(suite) for _ in range(root_keys)]
    root = FederationRoot(federation, threshold, tuple(key.public for key in keys))
    encoded = root.encode()  # like the roster, refuses bad fields before anything is written
    roster = sign_roster(
        [], root=root, keys=keys[:threshold], sequence=sequence, issued_at=now, expires_at=now + valid_for
    )
    make_private_directory(directory)
    make_private_directory(directory / HISTORY)
    refuse_existing(directory / ROOT_FILE, *(_key_path(directory, number) for number in range(1, root_keys + 1)))
    each = hidden if len(hidden) == root_keys else hidden * root_keys
    for number, (key, passphrase) in enumerate(zip(keys, each, strict=True), 1):
        save_key(_key_path(directory, number), key, passphrase.reveal())
    write_new(directory / ROOT_FILE, encoded)
    files = FederationDirectory(directory)
    files.publish(files.read_signed(roster))
    return keys


@dataclass(frozen=True, slots=True)
class SignedRoster:
    """A roster that was signed and is not published yet; it verifies under the directory's root."""

    roster: Roster
    data: bytes


class FederationDirectory:
    """What a federation root does with its directory: read the roster, sign the next one, publish it.

    Each change signs a new roster with the next sequence and a new term; publishing keeps all before it. Of two
    changes at the same time one fails and changes nothing.
    """

    __slots__ = ("_directory", "root")

    def __init__(self, directory: Path) -> None:
        """Open the directory that `found_federation` made.

        Raises:
            ConfigurationError: ``SF102``.
            PeerError: ``SF301``, ``SF302`` or ``SF303``.
        """
        self._directory = directory
        self.root = load_root(directory / ROOT_FILE)

    def roster(self, *, now: datetime) -> Roster:
        """The newest roster, verified.

        Raises:
            PeerError: ``SF322``, also if it has expired.
        """
        return verify_roster(self._read_roster(), root=self.root, now=now, last_sequence=0)

    def open_keys(self, passphrases: Sequence[bytes], *, files: Sequence[Path] = ()) -> list[SigningKey]:
        """As many root keys as the threshold asks for: of ``files``, else of those that lie in the directory.

        A key counts once, and only if one of ``passphrases`` opens it: people who hold one key each come with their
        key and their passphrase, and none needs another's.

        Raises:
            PeerError: ``SF322`` the newest roster does not verify under the root file, which then names no key of ours.
            ConfigurationError: ``SF121`` too few open; ``SF102`` too few are there; otherwise as `load_signing_key`.
        """
        hidden = [Secret(passphrase) for passphrase in passphrases]
        del passphrases
        verify_roster(self._read_roster(), root=self.root, now=from_ms(0), last_sequence=0)
        lying_here = [_key_path(self._directory, number) for number in range(1, len(self.root.keys) + 1)]
        paths = list(files) or [path for path in lying_here if path.exists()]
        threshold, opened = self.root.threshold, list[SigningKey]()
        if len(paths) < threshold:
            raise ConfigurationError("SF102", f"{threshold} root keys were expected, found {len(paths)}")
        for path in paths:
            if len(opened) == threshold:
                break
            key = _opened(path, hidden)
            others = {known.public.key_id for known in opened}
            if key is not None and key.public in self.root.keys and key.public.key_id not in others:
                opened.append(key)
        if len(opened) < threshold:
            raise ConfigurationError(
                "SF121", f"{threshold} root keys with their passphrases were expected, {len(opened)} could be opened"
            )
        return opened

    def newest(self) -> Roster:
        """The newest roster, whose term does not matter to the one who renews it.

        Raises:
            PeerError: ``SF322``.
        """
        return self._present()[0]

    def with_members(
        self, records: Sequence[bytes], *, keys: Sequence[SigningKey], now: datetime, valid_for: timedelta
    ) -> SignedRoster:
        """Sign, by ``keys``, one roster with all of ``records``, each in place of an earlier record of its member.

        All are in it or it is not made. The very record that stands there already renews the roster's term. Whether
        the records are vouched for is the caller's to judge.

        Raises:
            PeerError: ``SF331`` a record does not verify, is of another federation, out of its term, revoked, or
                not newer than the one it replaces, or by more than `MAX_SEQUENCE_STEP`; ``SF322`` the present roster
                does not verify, or the new one would not (a key of another member, too few ``keys``).
        """
        members = tuple(verify_record(record) for record in records)
        roster, present = self._present()
        for member, record in zip(members, records, strict=True):
            self._check_enrolment(member, record, roster, present, now)
        added = {member.member_id: record for member, record in zip(members, records, strict=True)}
        if len(added) < len(members):
            raise PeerError("SF331", "one record of each member was expected, found two of one")
        others = [data for data in present if verify_record(data).member_id not in added]
        return self._sign(roster, [*others, *added.values()], roster.revocations, keys, now, valid_for)

    def with_revocation(
        self, member_id: MemberId, *, reason: str, keys: Sequence[SigningKey], now: datetime, valid_for: timedelta
    ) -> SignedRoster:
        """Sign a roster in which the member's present record is revoked from ``now`` on: its last revocation.

        The record stays listed, so that what it signed before can still be judged.

        Raises:
            PeerError: ``SF306`` no such member, or it is revoked already; ``SF322`` the present roster does not verify.
        """
        roster, records = self._present()
        present = [record for record in roster.records if record.member_id == member_id]
        if not present:
            raise PeerError("SF306", f"a member of {self.root.federation} was expected, {member_id} is none")
        if roster.revoked(present[0], at=now):
            raise PeerError("SF306", f"a member that is not revoked yet was expected, {member_id} is")
        revocation = Revocation(member_id, present[0].sequence, to_ms(now), reason)
        return self._sign(roster, records, (*roster.revocations, revocation), keys, now, valid_for)

    def renewed(self, *, keys: Sequence[SigningKey], now: datetime, valid_for: timedelta) -> SignedRoster:
        """Sign a roster with the same records and revocations, and a new term.

        Raises:
            PeerError: ``SF322`` the present roster does not verify.
        """
        roster, records = self._present()
        return self._sign(roster, records, roster.revocations, keys, now, valid_for)

    def publish(self, signed: SignedRoster) -> None:
        """Put a signed roster into the history and hand it out; again, nothing happens.

        Raises:
            ConfigurationError: ``SF123`` another change came first.
        """
        path = self._directory / HISTORY / f"{signed.roster.sequence:07d}"
        try:
            # A new file per sequence: the second of two changes at the same time fails here and changes nothing.
            write_new(path, signed.data)
        except ConfigurationError as error:
            if error.code != "SF123" or read_bounded(path, MAX_ROSTER_FILE_BYTES) != signed.data:
                raise
        if self.newest().sequence == signed.roster.sequence:
            replace_file(self._directory / ROSTER_FILE, signed.data)

    def read_signed(self, data: bytes) -> SignedRoster:
        """A roster that was signed here before, with its bytes.

        Raises:
            PeerError: ``SF322``.
        """
        return SignedRoster(verify_roster(data, root=self.root, now=from_ms(0), last_sequence=0), data)

    def _check_enrolment(
        self, member: MemberRecord, record: bytes, roster: Roster, records: Sequence[bytes], now: datetime
    ) -> None:
        if member.federation != self.root.federation:
            raise PeerError("SF331", f"a record of {self.root.federation} was expected, found {member.federation}")
        if to_ms(now) >= member.valid_until_ms:
            ended = to_iso(from_ms(member.valid_until_ms))
            raise PeerError("SF331", f"a record in its term was expected, this one ended at {ended}")
        earlier = [
            revocation.up_to_sequence for revocation in roster.revocations if revocation.member_id == member.member_id
        ]
        if record not in records:
            earlier += [known.sequence for known in roster.records if known.member_id == member.member_id]
        above = max(earlier, default=0)
        if not above < member.sequence <= above + MAX_SEQUENCE_STEP:
            limits = f"above {above}, at most {above + MAX_SEQUENCE_STEP},"
            raise PeerError("SF331", f"a record of {member.member_id} with a sequence {limits} was expected")

    def _present(self) -> tuple[Roster, tuple[bytes, ...]]:
        data = self._read_roster()
        roster = verify_roster(data, root=self.root, now=from_ms(0), last_sequence=0)
        return roster, roster_records(data)

    def _read_roster(self) -> bytes:
        # Not the copy: it lags behind if a change was interrupted between the two.
        newest = max((self._directory / HISTORY).glob("[0-9]*"), default=self._directory / HISTORY / "0000001")
        return read_bounded(newest, MAX_ROSTER_FILE_BYTES)

    def _sign(
        self,
        roster: Roster,
        records: Sequence[bytes],
        revocations: Sequence[Revocation],
        keys: Sequence[SigningKey],
        now: datetime,
        valid_for: timedelta,
    ) -> SignedRoster:
        data = sign_roster(
            records,
            root=self.root,
            keys=keys,
            sequence=roster.sequence + 1,
            issued_at=now,
            expires_at=now + valid_for,
            revocations=revocations,
        )
        return self.read_signed(data)


def _key_path(directory: Path, number: int) -> Path:
    return directory / f"root-{number}.key"


def _opened(path: Path, passphrases: Sequence[Secret]) -> SigningKey | None:
    for passphrase in passphrases:
        try:
            return load_signing_key(path, passphrase.reveal())
        except ConfigurationError as error:
            if error.code != "SF121":
                raise
    return None
