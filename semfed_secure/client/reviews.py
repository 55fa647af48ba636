"""What people of this site decided about prompt sets: read from the site's audit log, which is its only record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType, parse_entry
from semfed_secure.audit.people import known_as, names
from semfed_secure.errors import ConfigurationError
from semfed_secure.ids import Digest, hex_digest, is_name
from semfed_secure.policy.facts import Approval
from semfed_secure.storage import log_rows

if TYPE_CHECKING:
    from semfed_secure.client.site import Site
    from semfed_secure.storage import Transaction
    from semfed_secure.wire.messages import RoundManifest

APPROVED, REFUSED = "approved", "refused"
_MARK = f'"{EventType.PROMPTS_REVIEWED}"'.encode()
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Where the people of a site stand on one prompt set, each by the last word."""

    approvals: tuple[Approval, ...]
    refused_by: tuple[str, ...]


def record_verdict(site: Site, digest: Digest, *, person: str, role: str, approve: bool) -> int:
    """Write down that ``person`` approves or refuses a prompt set; the number of the entry.

    The entry holds the set's digest, a commitment to who decided, and which way: nothing of what the review found. It
    is one entry either way, so the length of the log, which checkpoints show to peers, does not tell which.

    Raises:
        ConfigurationError: SF105, a name or role that an entry cannot hold.
        IntegrityError: SF502, it cannot be written.
    """
    if not (person.strip() and person.isprintable() and len(person) <= _LONGEST_NAME):
        raise ConfigurationError("SF105", f"a person's name has 1 to {_LONGEST_NAME} printable characters")
    if not is_name(role):
        raise ConfigurationError("SF105", "a role is named by 1-63 of a-z 0-9 . _ -, as policies name it")
    with site.database.transaction() as tx:
        event = Event(
            type=EventType.PROMPTS_REVIEWED,
            outcome="success",
            actor=known_as(tx, person, randomness=site.randomness),
            policy_id=site.policy.id,
            policy_digest=hex_digest(site.policy.digest),
            details={
                "prompt_set_digest": hex_digest(digest),
                "decision": APPROVED if approve else REFUSED,
                "role": role,
            },
        )
        return site.audit.append(event, tx)


def verdicts_for(tx: Transaction, manifest: RoundManifest) -> Verdicts:
    """What people said of the prompt set of a round; who refused its prompts refused them with any candidates."""
    said = verdicts_on(tx, manifest.prompt_set_digest)
    source = manifest.candidates_from
    before = () if source is None else verdicts_on(tx, source.prompt_set_digest).refused_by
    return replace(said, refused_by=said.refused_by + before)


def verdicts_on(tx: Transaction, digest: Digest) -> Verdicts:
    """Everybody's last word on one prompt set.

    A refusal stands until whoever refused approves; an approval as another role is one more, by the same person. Of
    somebody who was erased, approvals do not count any more, and a refusal stands until anybody approves.
    """
    known = names(tx)
    roles: dict[str, dict[str, None]] = {}
    refusals: dict[str, str] = {}
    printed = hex_digest(digest)
    for row in log_rows.walk_entries(tx):
        event = parse_entry(row.body).event if _MARK in row.body else None
        if event is None or event.type is not EventType.PROMPTS_REVIEWED:
            continue
        if event.details.get("prompt_set_digest") != printed:
            continue
        if event.details.get("decision") == APPROVED:
            refusals = {who: name for who, name in refusals.items() if who != event.actor and who in known}
            roles.setdefault(event.actor, {})[str(event.details.get("role"))] = None
        else:
            roles.pop(event.actor, None)
            refusals[event.actor] = known.get(event.actor, event.actor)
    given = [Approval(role, known[who]) for who, approved in roles.items() if who in known for role in approved]
    return Verdicts(tuple(given), tuple(refusals.values()))
