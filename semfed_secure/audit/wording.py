"""Audit entries in plain English, for readers who do not know how the system works."""

from __future__ import annotations

import re
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import TYPE_CHECKING, Any

from semfed_secure.audit.events import Event, EventType
from semfed_secure.errors import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Mapping

_PERSON = re.compile(r"(person:[0-9a-f]{12})[0-9a-f]{52}")
_PLACES = Decimal("0.0001")

# For each type what the actor did, and what it could not or was not allowed to do. Braces name fields and details.
_PHRASES: dict[EventType, tuple[str, str]] = {
    EventType.LOG_STARTED: ("began to write this log", "could not begin to write this log"),
    EventType.LOG_STOPPED: ("stopped writing this log in good order", "stopped writing this log after an error"),
    EventType.LOG_VERIFIED: ("verified this log over {size} entries", "found this log damaged"),
    EventType.LOG_COSIGNED: (
        "as a witness vouched for the log of {peer} over {size} entries",
        "as a witness could not hand in that it vouches for the log of {peer} over {size} entries",
    ),
    EventType.LOG_EXPORTED: (
        "exported entries {first} to {last} of this log as {format} ({destination})",
        "did not finish the export of entries {first} to {last} of this log as {format} ({destination})",
    ),
    EventType.LOG_CLOCK_BACK: (
        "wrote although its clock stood {seconds} seconds before the newest entry",
        "found its clock {seconds} seconds before the newest entry, of {newest}",
    ),
    EventType.LOG_REPAIRED: (
        "computed parts of this log again from its entries: {parts}",
        "could not compute parts of this log again",
    ),
    EventType.LOG_PRUNED: (
        "removed the content of {count} entries of {first} to {last}, all from before {before}",
        "was not allowed, or not able, to remove the content of entries from before {before}",
    ),
    EventType.LOG_HELD: (
        "put the legal hold {target} ({reference}) on entries from {since} on",
        "did not put the legal hold {target} on entries",
    ),
    EventType.LOG_HOLD_LIFTED: ("lifted the legal hold {target} ({reference})", "did not lift the legal hold {target}"),
    EventType.REPORT_CREATED: (
        "wrote a {kind} from the first {size} entries of this log",
        "could not write a {kind} from this log",
    ),
    EventType.POLICY_LOADED: ("put policy {policy_id} version {version} into force", "could not load a policy"),
    EventType.POLICY_REJECTED: ("refused to load policy {policy_id}", "refused to load policy {policy_id}"),
    EventType.DECISION: ("was permitted by policy to {action}", "was not permitted by policy to {action}"),
    EventType.DATASET_OPENED: ("opened data set {dataset}", "could not open data set {dataset}"),
    EventType.PROMPTS_REVIEWED: (
        "as {role} {decision} prompt set {prompt_set_digest}",
        "could not decide on prompt set {prompt_set_digest}",
    ),
    EventType.PRIVACY_AUDITED: (
        (
            "attacked its own training with {canaries} made-up entities: epsilon at least {epsilon_found}, "
            "{epsilon_claimed} claimed"
        ),
        (
            "attacked its own training with {canaries} made-up entities: {verdict}, epsilon at least {epsilon_found}, "
            "{epsilon_claimed} claimed"
        ),
    ),
    EventType.TRAINING_STARTED: ("began to train on data set {target}", "could not begin to train on {target}"),
    EventType.TRAINING_FINISHED: ("finished training on data set {target}", "did not finish training on {target}"),
    EventType.DETECTOR_SUMMARY: (
        "searched the {scanned} texts among its {outputs} outputs for personal and financial identifiers",
        "could not search its outputs for identifiers, and released none",
    ),
    EventType.BUDGET_RESERVED: (
        "reserved privacy budget of {population}: {cost} more, {epsilon} in all",
        "could not account for the privacy budget of {target}, and charged nothing",
    ),
    EventType.BUDGET_COMMITTED: (
        "confirmed a charge on the privacy budget of {target}",
        "could not confirm a charge on the privacy budget of {target}",
    ),
    EventType.BUDGET_REFUSED: (
        "was refused privacy budget of {population}: {cost} was asked, {remaining} remains",
        "was refused privacy budget of {population}: {cost} was asked, {remaining} remains",
    ),
    EventType.BUNDLE_RELEASED: ("released {items} outputs ({kind}) for {peer}", "did not release outputs for {peer}"),
    EventType.BUNDLE_SENT: ("sent the released outputs to {peer}", "could not send the released outputs to {peer}"),
    EventType.BUNDLE_COMMITTED: ("took the commitment of {peer}", "did not take the commitment of {peer}"),
    EventType.BUNDLE_ADMITTED: ("admitted the contribution of {peer}", "did not admit the contribution of {peer}"),
    EventType.BUNDLE_REJECTED: ("rejected a contribution of {peer}", "rejected a contribution of {peer}"),
    EventType.BUNDLE_DELETED: (
        "deleted its copy of the {kind} that it had sent, which it may keep for {keep_days} days",
        "could not delete its copy of a {kind} that it had sent",
    ),
    EventType.RECEIPT_RECEIVED: (
        "was told by {peer} that its contribution is {outcome}",
        "was told by {peer} that its contribution is not admitted, or was told nothing that verifies",
    ),
    EventType.ROUND_OPENED: ("opened a round of {prompts} prompts ({kind})", "could not open a round"),
    EventType.COMMITMENTS_CLOSED: (
        "closed the commitments of a round: {committed} were committed to",
        "could not close the commitments of a round",
    ),
    EventType.COMMITMENTS_VERIFIED: (
        "verified the closed commitments of {peer}: {committed}, its own among them",
        "could not verify the closed commitments of {peer}",
    ),
    EventType.ROUND_CLOSED: ("closed a round with {admitted} admitted contributions", "could not close a round"),
    EventType.ROUND_ABORTED: ("gave up a round", "gave up a round"),
    EventType.CONSENSUS_PUBLISHED: (
        "published a consensus: {agreed} prompts agreed, {contested} contested, {too_few} with too few answers",
        "could not publish a consensus",
    ),
    EventType.CONSENSUS_VERIFIED: ("verified the consensus of {peer}", "could not verify the consensus of {peer}"),
    EventType.CONSENSUS_REFUSED: ("refused the consensus of {peer}", "refused the consensus of {peer}"),
    EventType.STANDING_RESET: (
        "forgot how {target} fared in earlier rounds",
        "could not forget how {target} fared in earlier rounds",
    ),
    EventType.LABELS_ACCEPTED: ("accepted {labels} pseudo-labels to learn from", "accepted no pseudo-labels"),
    EventType.LABELS_REFUSED: ("refused pseudo-labels", "refused pseudo-labels"),
    EventType.ADAPTER_KEPT: ("kept the newly trained adapter", "could not keep the newly trained adapter"),
    EventType.ADAPTER_ROLLED_BACK: (
        "threw the newly trained adapter away: it did not pass the validation check",
        "could not return to the adapter before",
    ),
    EventType.ROSTER_SIGNED: ("signed roster {sequence} of {members} members", "could not sign a roster"),
    EventType.ROSTER_ACCEPTED: ("took roster {sequence} into force", "did not take a roster into force"),
    EventType.ROSTER_REFUSED: ("refused a roster", "refused a roster"),
    EventType.MEMBER_INVITED: ("invited {target} until {expires_at}", "did not invite {target}"),
    EventType.MEMBER_ADDED: ("enrolled member {target}", "did not enrol member {target}"),
    EventType.MEMBER_ROTATED: ("took a new key of member {target}", "did not take a new key of member {target}"),
    EventType.MEMBER_REFUSED: ("refused to enrol {target}", "refused to enrol {target}"),
    EventType.MEMBER_REVOKED: ("revoked member {target} (revocation {number})", "did not revoke member {target}"),
    EventType.AUTHORITY_FOUNDED: ("founded the TLS authority", "could not found the TLS authority"),
    EventType.CERTIFICATE_ISSUED: (
        "issued a TLS certificate ({purpose}) to {target} until {expires_at}",
        "did not issue a TLS certificate to {target}",
    ),
    EventType.CERTIFICATE_REFUSED: (
        "refused a TLS certificate to {target}",
        "refused a TLS certificate to {target}",
    ),
    EventType.KEY_CREATED: ("created a key ({purpose})", "could not create a key ({purpose})"),
    EventType.KEY_LOADED: ("loaded a key ({purpose})", "could not load a key ({purpose})"),
    EventType.KEY_DESTROYED: ("destroyed a key ({purpose})", "could not destroy a key ({purpose})"),
    EventType.PEOPLE_NAMED: (
        "was told the names of the {people} people whom this log means",
        "was not told whom this log means",
    ),
    EventType.PERSON_ERASED: (
        "erased whom this log means by {target}",
        "could not erase whom this log means by {target}",
    ),
    EventType.PEER_REFUSED: (
        "refused {count} messages before it was clear who sent them",
        "refused {count} messages before it was clear who sent them",
    ),
}

_NOTHING_TO_SEARCH = "searched nothing for identifiers: its {outputs} outputs ({kind}) carry no text"

# The acts that a policy decides on.
_ACTIONS = {
    "open_dataset": "open a data set",
    "join": "join a round",
    "train": "train on private records",
    "release": "release outputs",
    "learn": "learn from a consensus",
    "export": "export",
}


def describe(event: Event) -> str:
    """One sentence about an event: who did what, in which round."""
    phrase = _phrase(event).format_map(_Facts(_facts(event)))
    round_ = f" in {event.round_id}" if event.round_id is not None else ""
    trial = ", asked only to see the answer" if event.details.get("dry_run") is True else ""
    given = ", ".join(event.details.get("approvals", ()))
    approved = f", approved by {given}" if given else ""
    return shortened(f"{event.actor} {phrase}{round_}{approved}{trial}")


def shortened(text: str) -> str:
    """``text`` with the beginning of each commitment to a person, for reading; the entry has it in full."""
    return _PERSON.sub(lambda found: f"{found[1]}\N{HORIZONTAL ELLIPSIS}", text)


def _phrase(event: Event) -> str:
    if event.type is EventType.DETECTOR_SUMMARY and event.outcome == "success" and event.details.get("scanned") == 0:
        return _NOTHING_TO_SEARCH
    return _PHRASES[event.type][event.outcome != "success"]


def explain_code(code: str) -> str:
    """What a code of our catalogue means; a code of a policy is explained by the entry's reasons."""
    return CATALOGUE[code].title if code in CATALOGUE else "a rule of the policy"


def spent(value: str) -> str:
    """An ε that was spent, rounded up for reading: never less than it is."""
    return _rounded(value, ROUND_UP)


def left(value: str) -> str:
    """An ε that is left, rounded down for reading: never more than it is."""
    return _rounded(value, ROUND_DOWN)


def _rounded(value: str, rounding: str) -> str:
    number = Decimal(value)
    if not number.is_finite():
        return "unlimited"
    text = str(number.quantize(_PLACES, rounding)) if number.adjusted() < 20 else str(number)
    return text.rstrip("0").rstrip(".") if "." in text else text


class _Facts(dict[str, str]):
    """The facts of an event; one that was not stated is called so."""

    def __missing__(self, key: str) -> str:
        return f"({key.replace('_', ' ')} not stated)"


def _facts(event: Event) -> Mapping[str, str]:
    named: dict[str, Any] = dict(event.details)
    named |= {"target": event.target, "peer": event.peer, "policy_id": event.policy_id}
    if "action" in named:
        named["action"] = _ACTIONS.get(named["action"], named["action"])
    if event.privacy is not None:
        privacy = event.privacy
        named |= {"population": privacy.population, "epsilon": f"ε {spent(privacy.epsilon)}"}
        named["cost"] = None if privacy.cost is None else f"ε {spent(privacy.cost)}"
        named["remaining"] = None if privacy.remaining is None else f"ε {left(privacy.remaining)}"
    return {key: str(value) for key, value in named.items() if value is not None}
