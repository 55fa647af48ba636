"""Who said yes: approvals of an act, counted once per person."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from semfed_secure.policy.document import Act
from semfed_secure.policy.facts import Action, Facts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from semfed_secure.policy.effective import EffectivePolicy


def act_of(facts: Facts) -> Act | None:
    """What an approval would have to be for; None where the facts do not say."""
    if facts.action != Action.RELEASE:
        return Act(facts.action)
    return None if facts.release is None else Act(f"release_{facts.release.kind}")


def approvers(facts: Facts, policy: EffectivePolicy, act: Act, now: datetime) -> Mapping[str, set[str]]:
    """The people who approved ``act``, by role: those named in the facts and those written into the policy.

    The author of the policy is left out: nobody approves alone what they wrote.
    """
    digest = facts.prompts.digest if facts.prompts else None
    found: dict[str, set[str]] = defaultdict(set)
    for approval in facts.approvals:
        found[approval.role].add(_person(approval.approver))
    for grant in policy.grants.approvals:
        if grant.act is act and now < grant.until and (not act.concerns_prompts or grant.prompts == digest):
            found[grant.role].add(_person(grant.approver))
    author = _person(policy.document.author or policy.document.owner)
    return {role: people - {author} for role, people in found.items()}


def _person(name: str) -> str:
    return " ".join(name.casefold().split())


def seats_filled(required: Mapping[str, int], found: Mapping[str, set[str]]) -> int:
    """How many of the required seats can be filled when everybody takes at most one (bipartite matching)."""
    seats = [role for role, count in sorted(required.items()) for _ in range(count)]
    taken: dict[str, int] = {}

    def place(seat: int, asked: set[str]) -> bool:
        for person in sorted(found.get(seats[seat], set()) - asked):
            asked.add(person)
            if person not in taken or place(taken[person], asked):
                taken[person] = seat
                return True
        return False

    return sum(place(seat, set()) for seat in range(len(seats)))
