"""``semfed federation``: found a federation, invite, enrol and revoke its members, show its roster."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure.cli import tls
from semfed_secure.cli.output import JsonOption, emit, note, printable, table
from semfed_secure.clock import SystemClock, SystemRandomness, from_ms, to_iso, to_ms
from semfed_secure.crypto.key_files import read_passphrase
from semfed_secure.crypto.keys import Suite
from semfed_secure.errors import ExitCode, PeerError
from semfed_secure.federation.office import found_office, open_office
from semfed_secure.identity.enrolment import MAX_APPLICATION_BYTES, Invitee, read_application
from semfed_secure.identity.federation_files import ROOT_FILE, ROSTER_FILE, FederationDirectory
from semfed_secure.identity.files import read_bounded, write_private
from semfed_secure.identity.records import Role
from semfed_secure.ids import FederationId, MemberId, hex_digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from semfed_secure.identity.records import MemberRecord
    from semfed_secure.identity.roster import Revocation, Roster

app = typer.Typer(
    help="Found a federation and enrol its members.", no_args_is_help=True, pretty_exceptions_enable=False
)

app.command("issue-tls")(tls.issue)

Directory = Annotated[Path, typer.Argument(help="The federation root's directory.", show_default=False)]
PassphraseFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--passphrase-file",
        help="Holds the passphrase of the root keys; repeat it where each has its own. Else SEMFED_PASSPHRASE does.",
    ),
]
RootKeys = Annotated[
    list[Path] | None,
    typer.Option("--root-key", help="The file of a root key that signs; repeat it. Else those in the directory sign."),
]
ValidDays = Annotated[
    int, typer.Option("--valid-days", min=1, max=3650, help="Days from now until members refuse the roster.")
]


@app.command()
def init(
    directory: Directory,
    federation: Annotated[str, typer.Option("--id", help="The federation's name: a-z 0-9 . _ -", show_default=False)],
    root_keys: Annotated[int, typer.Option("--root-keys", min=1, max=16, help="Root keys to generate.")] = 1,
    threshold: Annotated[int, typer.Option("--threshold", min=1, max=16, help="How many must sign a roster.")] = 1,
    valid_days: ValidDays = 90,
    sequence: Annotated[
        int,
        typer.Option(
            "--sequence", min=1, max=10**9, help="Higher than that of any roster of the root that this replaces."
        ),
    ] = 1,
    suite: Annotated[
        Suite, typer.Option("--suite", help="The algorithms of the root keys: hybrid-pq or nist-p256.")
    ] = Suite.HYBRID_PQ,
    passphrase_file: PassphraseFiles = None,
    as_json: JsonOption = False,
) -> None:
    """Generate the root keys, and sign the first roster, which has no members."""
    found_office(
        directory,
        federation=FederationId(federation),
        root_keys=root_keys,
        threshold=threshold,
        passphrases=_passphrases(passphrase_file),
        clock=SystemClock(),
        valid_for=timedelta(days=valid_days),
        sequence=sequence,
        suite=suite,
    )
    document = _describe(FederationDirectory(directory), directory)
    emit(
        document,
        as_json=as_json,
        text=f"Founded {federation}: {threshold} of {root_keys} root keys sign a roster.\n"
        f"Members pin {document['root_file']}\n"
        f"and compare its digest over another channel:\n{document['root_digest']}",
    )


@app.command()
def invite(
    directory: Directory,
    member: Annotated[str, typer.Argument(help="The id under which the member may enrol.", show_default=False)],
    role: Annotated[list[Role], typer.Option("--role", help="What it may be; repeat it.", show_default=False)],
    domain: Annotated[str, typer.Option("--domain", help="The member's domain name.", show_default=False)],
    jurisdiction: Annotated[str, typer.Option("--jurisdiction", help="Such as US, US-CA, DE.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="A new file for the token; send its content to the member.")],
    valid_hours: Annotated[int, typer.Option("--valid-hours", min=1, max=8_760, help="Until it expires.")] = 168,
    passphrase_file: PassphraseFiles = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token with which this member's record, which says just this, can be enrolled once."""
    invitee = Invitee(MemberId(member), frozenset(role), domain, jurisdiction)
    with open_office(directory, passphrases=_passphrases(passphrase_file), clock=SystemClock()) as office:
        invitation = office.invite(
            invitee,
            valid_for=timedelta(hours=valid_hours),
            randomness=SystemRandomness(),
            deliver=lambda token: write_private(out, token + b"\n"),
        )
    expires = to_iso(invitation.expires_at)
    emit(
        {"member": member, "token_file": str(out), "token_digest": invitation.token_key_id, "expires_at": expires},
        as_json=as_json,
        text=f"Invited {member} until {expires}.\nSend the content of {out} to them alone, then delete it.",
    )


@app.command("add-member")
def add_member(
    directory: Directory,
    record: Annotated[
        list[Path],
        typer.Argument(help="An enrolment.request, or the member.record of a rotated key; or several of them."),
    ],
    without_token: Annotated[
        bool,
        typer.Option("--without-token", help="Take a bare member.record whose key ids you compared in person."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask at a terminal before it is signed.")] = False,
    valid_days: ValidDays = 90,
    root_key: RootKeys = None,
    passphrase_file: PassphraseFiles = None,
    as_json: JsonOption = False,
) -> None:
    """Sign a new roster with these members in it; a known member's new record needs a higher sequence."""
    federation, passphrases = FederationDirectory(directory), _passphrases(passphrase_file)
    submitted = [read_bounded(path, MAX_APPLICATION_BYTES) for path in record]
    if not yes and _interactive():
        _ask(federation.newest(), submitted)
    keys = federation.open_keys(passphrases, files=root_key or ())
    with open_office(directory, passphrases=passphrases, clock=SystemClock()) as office:
        members = office.enrol(submitted, keys=keys, valid_for=timedelta(days=valid_days), without_token=without_token)
    document = _describe(federation, directory) | {"added": [member.member_id for member in members]}
    lines = [f"Added {m.member_id} ({', '.join(sorted(m.roles))}, {m.jurisdiction})." for m in members]
    emit(document, as_json=as_json, text="\n".join([*lines, _in_force(document)]))


@app.command()
def renew(
    directory: Directory,
    valid_days: ValidDays = 90,
    root_key: RootKeys = None,
    passphrase_file: PassphraseFiles = None,
    as_json: JsonOption = False,
) -> None:
    """Sign a new roster with the same members and a new term; also when the one before has expired."""
    federation, passphrases = FederationDirectory(directory), _passphrases(passphrase_file)
    keys = federation.open_keys(passphrases, files=root_key or ())
    with open_office(directory, passphrases=passphrases, clock=SystemClock()) as office:
        office.renew(keys=keys, valid_for=timedelta(days=valid_days))
    document = _describe(federation, directory)
    emit(document, as_json=as_json, text=_in_force(document))


@app.command()
def revoke(
    directory: Directory,
    member: Annotated[str, typer.Argument(help="The member whose keys no longer count.", show_default=False)],
    reason: Annotated[str, typer.Option("--reason", help="One sentence for the list of revocations.")],
    valid_days: ValidDays = 90,
    root_key: RootKeys = None,
    passphrase_file: PassphraseFiles = None,
    as_json: JsonOption = False,
) -> None:
    """Sign a new roster in which this member is revoked from now on; servers refuse it as soon as they have that."""
    federation, passphrases = FederationDirectory(directory), _passphrases(passphrase_file)
    keys = federation.open_keys(passphrases, files=root_key or ())
    with open_office(directory, passphrases=passphrases, clock=SystemClock()) as office:
        number, revocation = office.revoke(
            MemberId(member), reason=reason, keys=keys, valid_for=timedelta(days=valid_days)
        )
    document = _describe(federation, directory)
    emit(
        document | {"revoked": member, "number": number, "record_sequence": revocation.up_to_sequence},
        as_json=as_json,
        text=f"Revoked {member}: revocation {number}, {printable(reason)}\n"
        f"Give roster {document['sequence']} to the servers now: {document['roster_file']}",
    )


@app.command()
def roster(directory: Directory, as_json: JsonOption = False) -> None:
    """Verify the newest roster, also an expired one, and show who is a member."""
    now = SystemClock().now()
    federation = FederationDirectory(directory)
    verified = federation.newest()
    document = _describe(federation, directory)
    emit(
        document
        | {
            "members": [_member(verified, record, now) for record in verified.records],
            "revocations": [_revocation(*row) for row in enumerate(verified.revocations, 1)],
        },
        as_json=as_json,
        text=lambda: (
            f"{document['federation']}, roster {document['sequence']}, until {document['expires_at']}"
            f"{', EXPIRED: renew it' if document['expired'] else ''}\n\n"
            + table(
                ("member", "roles", "jurisdiction", "domain", "valid until", "status"),
                [_row(_member(verified, record, now)) for record in verified.records],
            )
            + "".join(
                f"\nrevocation {number}: {row.member_id} from {to_iso(from_ms(row.at_ms))}, {printable(row.reason)}"
                for number, row in enumerate(verified.revocations, 1)
            )
        ),
    )


def _interactive() -> bool:
    return sys.stdin.isatty()


def _ask(standing: Roster, submitted: Sequence[bytes]) -> None:
    """Show what each record claims beside the member's record before, and let a person say no."""
    for data in submitted:
        with suppress(PeerError):  # refused, and logged, when it is enrolled
            _show(read_application(data).member, standing)
    if not typer.confirm("Sign a roster with this in it?", err=True):
        raise typer.Exit(ExitCode.INTERRUPTED)


def _show(member: MemberRecord, standing: Roster) -> None:
    known = [record for record in standing.records if record.member_id == member.member_id]
    note(f"{member.member_id}: " + ("a member already" if known else "not a member before"))
    before = _facts(known[0]) if known else {}
    for name, value in _facts(member).items():
        changed = f" (before: {before[name]})" if before.get(name, value) != value else ""
        note(printable(f"  {name}: {value}{changed}"))


def _facts(record: MemberRecord) -> dict[str, str]:
    return {
        "roles": ", ".join(sorted(record.roles)),
        "domain": record.domain,
        "jurisdiction": record.jurisdiction,
        "suite": record.suite.value,
        "sequence": str(record.sequence),
        "valid until": to_iso(from_ms(record.valid_until_ms)),
        "signing keys": ", ".join(key.key_id for key in record.signing_keys),
        "log key": record.log_key,
    }


def _passphrases(files: list[Path] | None) -> list[bytes]:
    if not files:
        return [read_passphrase(None, os.environ)]
    return [read_passphrase(file, os.environ) for file in files]


def _member(roster: Roster, record: MemberRecord, now: datetime) -> dict[str, str | int | list[str]]:
    return {
        "member": record.member_id,
        "roles": sorted(record.roles),
        "jurisdiction": record.jurisdiction,
        "domain": record.domain,
        "sequence": record.sequence,
        "valid_until": to_iso(from_ms(record.valid_until_ms)),
        "status": _status(roster, record, now),
        "signing_key_ids": [key.key_id for key in record.signing_keys],
        "log_key": record.log_key,
    }


def _revocation(number: int, revocation: Revocation) -> dict[str, str | int]:
    return {
        "number": number,
        "member": revocation.member_id,
        "record_sequence": revocation.up_to_sequence,
        "at": to_iso(from_ms(revocation.at_ms)),
        "reason": revocation.reason,
    }


def _row(member: dict[str, str | int | list[str]]) -> list[object]:
    columns = ("member", "roles", "jurisdiction", "domain", "valid_until", "status")
    return [", ".join(cell) if isinstance(cell := member[column], list) else cell for column in columns]


def _status(roster: Roster, record: MemberRecord, now: datetime) -> str:
    if roster.revoked(record, at=now):
        return "revoked"
    return "valid" if record.valid_at(now) else "outside its term"


def _describe(federation: FederationDirectory, directory: Path) -> dict[str, object]:
    roster = federation.newest()
    return {
        "federation": roster.federation,
        "root_digest": hex_digest(federation.root.digest),
        "root_file": str(directory / ROOT_FILE),
        "threshold": federation.root.threshold,
        "root_keys": len(federation.root.keys),
        "roster_file": str(directory / ROSTER_FILE),
        "roster_digest": hex_digest(roster.digest),
        "sequence": roster.sequence,
        "expires_at": to_iso(from_ms(roster.expires_at_ms)),
        "expired": to_ms(SystemClock().now()) >= roster.expires_at_ms,
    }


def _in_force(document: dict[str, object]) -> str:
    return f"Roster {document['sequence']} is in force until {document['expires_at']}: {document['roster_file']}"
