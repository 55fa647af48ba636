"""Groups of members on the wire: named before the first answer, apart from each other, each with its own results."""

from __future__ import annotations

from dataclasses import replace

import pytest

from semfed_secure.errors import ConfigurationError
from semfed_secure.wire import messages
from semfed_secure.wire.manifest import MAX_CHECKPOINT_BYTES, MAX_GROUPS, MAX_MEMBERS, MAX_SEALING_KEY_BYTES
from semfed_secure.wire.prompts import MAX_PROMPTS
from tests.wire import wire_examples as examples


def grouped(*groups: tuple[str, ...]) -> messages.RoundManifest:
    """The manifest with these groups, each its name before its members."""
    return replace(examples.MANIFEST, groups=tuple(messages.Group(name, tuple(members)) for name, *members in groups))


REFUSED = {
    "one_group": (messages.encode_manifest, replace(examples.MANIFEST, groups=examples.GROUPS[:1])),
    "groups_out_of_order": (messages.encode_manifest, replace(examples.MANIFEST, groups=examples.GROUPS[::-1])),
    "one_group_twice": (messages.encode_manifest, grouped(("finance", "east"), ("finance", "west"))),
    "a_group_of_nobody": (messages.encode_manifest, grouped(("finance",), ("healthcare", "west"))),
    "a_member_in_two_groups": (messages.encode_manifest, grouped(("finance", "east"), ("healthcare", "east"))),
    "a_member_twice_in_a_group": (messages.encode_manifest, grouped(("finance", "east", "east"), ("trade", "west"))),
    "members_out_of_order": (messages.encode_manifest, grouped(("finance", "west", "east"), ("trade", "north"))),
    "proposals_of_groups": (
        messages.encode_manifest,
        replace(examples.MANIFEST, rule=examples.PROPOSALS, groups=examples.GROUPS),
    ),
    "more_results_than_a_consensus_holds": (
        messages.encode_manifest,
        replace(examples.MANIFEST, prompt_count=10_001, groups=examples.GROUPS),
    ),
    "a_consensus_of_no_group": (
        messages.encode_consensus,
        replace(examples.CONSENSUS, results=(), admitted_counts=()),
    ),
    "a_group_without_a_count": (
        messages.encode_consensus,
        replace(examples.CONSENSUS, results=examples.CONSENSUS.results * 2),
    ),
    "groups_of_other_prompts": (
        messages.encode_consensus,
        replace(
            examples.CONSENSUS,
            results=(examples.CONSENSUS.results[0], examples.CONSENSUS.results[0][:1]),
            admitted_counts=(3, 3),
        ),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_groups_that_do_not_hold_together_are_not_encoded(name) -> None:
    """There are no bytes of them: SF105."""
    encode, message = REFUSED[name]
    with pytest.raises(ConfigurationError, match="SF105"):
        encode(message)


def test_every_member_of_a_group_has_the_place_of_its_group() -> None:
    """Who is in none has no place; where there are no groups everybody has the only one."""
    manifest = replace(examples.MANIFEST, groups=examples.GROUPS)
    assert [manifest.place_of(name) for name in ("east", "west", "north", "nobody")] == [0, 0, 1, None]
    assert (manifest.consensuses, examples.MANIFEST.consensuses, examples.MANIFEST.place_of("nobody")) == (2, 1, 0)


def test_the_largest_groups_that_a_server_may_name_are_taken() -> None:
    """As many members of as long names as there may be, beside the longest checkpoint, and all their results."""
    members = [f"{number:063}" for number in range(MAX_MEMBERS)]
    groups = tuple(messages.Group(f"{place:063}", tuple(members[place::MAX_GROUPS])) for place in range(MAX_GROUPS))
    full = replace(
        examples.MANIFEST,
        groups=groups,
        prompt_count=MAX_PROMPTS // MAX_GROUPS,
        recipient_key=bytes(MAX_SEALING_KEY_BYTES),
        log_checkpoint="x" * MAX_CHECKPOINT_BYTES,
    )
    assert messages.parse_manifest(messages.encode_manifest(full)) == full
    result = examples.CONSENSUS.results[0][0]
    results = ((result,) * (MAX_PROMPTS // MAX_GROUPS),) * MAX_GROUPS
    counts = tuple(len(group.members) for group in groups)
    formed = replace(examples.CONSENSUS, results=results, admitted_counts=counts)
    assert messages.parse_consensus(messages.encode_consensus(formed)) == formed
