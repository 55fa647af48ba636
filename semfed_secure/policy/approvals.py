"""Who said yes: approvals of an act, counted once per person."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from semfed_secure.ids import same_person
from semfed_secure.policy.document import Act
from semfed_secure.policy.facts import Action, Approval, Facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
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
    found: dict[str, set[str]] = defaultdict(set)
    for approval in _given(facts, policy, act, now):
        found[approval.role].add(same_person(approval.approver))
    return found


def counting(facts: Facts, policy: EffectivePolicy, now: datetime) -> tuple[Approval, ...]:
    """The approvals that the act rests on, each person once per role, in the words of whoever wrote them down.

    Those in a role that nothing requires for the act are left out.
    """
    act = act_of(facts)
    required = None if act is None else getattr(policy.limits.approvals, act.value)
    if act is None or not required:
        return ()
    given = {
        (one.role, same_person(one.approver)): one for one in _given(facts, policy, act, now) if one.role in required
    }
    return tuple(given[place] for place in sorted(given))


def _given(facts: Facts, policy: EffectivePolicy, act: Act, now: datetime) -> Iterator[Approval]:
    digest = facts.prompts.digest if facts.prompts else None
    author = same_person(policy.document.author or policy.document.owner)
    written = (
        Approval(role=grant.role, approver=grant.approver)
        for grant in policy.grants.approvals
        if grant.act is act and now < grant.until and (not act.concerns_prompts or grant.prompts == digest)
    )
    for approval in (*facts.approvals, *written):
        if same_person(approval.approver) != author:
            yield approval


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
