"""A round of two domains, whose right answers differ: each site learns its own domain's, and nobody else's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.client.facts import peer_facts
from semfed_secure.clock import FixedClock
from semfed_secure.crypto.signing import sign, verify
from semfed_secure.errors import PeerError, PolicyDenied
from semfed_secure.ids import MemberId
from semfed_secure.testing import Altering, LocalFederation, SiteSettings, TableModel
from semfed_secure.units import Mechanism
from semfed_secure.wire.messages import (
    CONSENSUS_LIMITS,
    MANIFEST_LIMITS,
    Group,
    MessageType,
    PromptStatus,
    encode_consensus,
    encode_manifest,
    parse_consensus,
    parse_manifest,
)
from tests.client.world import CANDIDATES, NOW, PROMPTS, TEXTS, UNSAFE, events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from semfed_secure.client.session import Client

HEALTHCARE, FINANCE, LIAR = ("bay", "hill", "lake"), ("alder", "birch", "cedar", "doubt"), "doubt"
GROUPS = {"finance": FINANCE, "healthcare": HEALTHCARE}
DOMAIN = {member: domain for domain, members in GROUPS.items() for member in members}
RIGHT = {
    "healthcare": {text: CANDIDATES[place % 2] for place, text in enumerate(TEXTS)},
    "finance": {text: CANDIDATES[1 - place % 2] for place, text in enumerate(TEXTS)},
}


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFederation]:
    """Three hospitals, three banks, and a fourth bank that answers as hospitals do, to sway whom it can."""
    directory = tmp_path_factory.mktemp("groups")
    members = (*HEALTHCARE, *FINANCE)
    with LocalFederation(
        directory / "federation", members=members, prompt_sets=(PROMPTS,), clock=FixedClock(NOW)
    ) as federation:
        yield federation


def site(federation: LocalFederation, member: str, *, domain: str | None = None, **opening: Any) -> Client:
    """A site of its own domain, whose model knows what is right there; the liar's what is right elsewhere."""
    domain = domain or DOMAIN[member]
    knows = RIGHT["healthcare"] if member == LIAR else RIGHT[domain]
    settings = SiteSettings(mechanism=UNSAFE, policy={"domain": domain}, sections={"site": {"state": f"as-{domain}"}})
    return federation.client(member, settings=settings, **{"model": BlackBox(knows)} | opening)


class BlackBox(TableModel):
    """A model that only answers: accepted labels are taken home as a file."""

    fit_labels: Any = None


def held(federation: LocalFederation, name: str, **terms: Any) -> None:
    """A round that everybody contributes to."""
    federation.open_round(name, PROMPTS, mechanisms=tuple(Mechanism), max_epsilon="Infinity", **terms)
    for member in federation.members:
        with site(federation, member) as client, client.join(name) as joined:
            joined.contribute()
    assert federation.close_round(name) == "published"


def test_each_site_learns_the_labels_of_its_own_domain(founded: LocalFederation) -> None:
    """Opposite ones on the same prompts; the liar loses in its own group, and changes nothing in the other."""
    held(founded, "apart", groups=GROUPS)
    for member in founded.members:
        domain = DOMAIN[member]
        with site(founded, member) as client, client.join("apart") as joined:
            consensus = joined.wait_for_consensus()
            assert [result.label for result in consensus.results] == [RIGHT[domain][text] for text in TEXTS]
            assert peer_facts(consensus.round).group == domain  # what the policy is asked about, here and in learning
            support, admitted = {"healthcare": (1_000_000, 3), "finance": (750_000, 4)}[domain]
            assert {result.support_ppm for result in consensus.results} == {support}
            assert (consensus.admitted_count, consensus.consensus.admitted_count) == (admitted, 7)
            assert joined.learn(consensus).labels == len(TEXTS)


def test_without_groups_no_side_learns_what_is_right_for_it(founded: LocalFederation) -> None:
    """With the liar the hospitals' answers win by one; the banks would be taught what is wrong for banks."""
    held(founded, "together")
    with site(founded, "alder") as client, client.join("together") as joined:
        consensus = joined.wait_for_consensus()
        labels = [result.label for result in consensus.results]
        assert labels == [RIGHT["healthcare"][text] for text in TEXTS]
        assert {result.status for result in consensus.results} == {PromptStatus.AGREED}
        assert peer_facts(consensus.round).group is None


def test_a_bank_takes_no_part_where_the_server_lists_it_among_hospitals(founded: LocalFederation) -> None:
    """Its policy refuses before anything is sent; and a policy of the other domain refuses what this one permits."""
    moved = {"finance": ("alder", "birch", "doubt"), "healthcare": (*HEALTHCARE, "cedar")}
    founded.open_round("moved", PROMPTS, groups=moved)
    with site(founded, "cedar") as client:
        before = events(client)
        with pytest.raises(PolicyDenied, match="PEER-009"):
            client.join("moved")
        assert ("bundle.sent", "success") not in events(client)[len(before) :]
    with site(founded, "alder", domain="healthcare") as client, pytest.raises(PolicyDenied, match="PEER-009"):
        client.join("moved")
    with site(founded, "alder") as client:
        client.join("moved")


def rewritten(federation: LocalFederation, name: str, **parts: Any) -> Altering:
    """What a server shows that signs another manifest or consensus than the true one."""
    key = federation.context.keys.signing

    def other(kind: MessageType, limits: Any, parse: Any, encode: Any, change: Any) -> Callable[[bytes], bytes]:
        def shown(data: bytes) -> bytes:
            true = parse(verify(kind, data, [key.public], limits=limits).payload)
            return data if true.round_id != name else sign(kind, encode(change(true)), key)

        return shown

    kinds = {
        "manifest": (MessageType.MANIFEST, MANIFEST_LIMITS, parse_manifest, encode_manifest),
        "consensus": (MessageType.CONSENSUS, CONSENSUS_LIMITS, parse_consensus, encode_consensus),
    }
    return Altering(federation.transport(), **{part: other(*kinds[part], parts[part]) for part in parts})


def named(*groups: tuple[str, ...]) -> tuple[Group, ...]:
    """Groups, each its name before its members."""
    return tuple(Group(name, tuple(map(MemberId, sorted(members)))) for name, *members in groups)


@pytest.mark.parametrize(
    "groups",
    [
        named(("finance", *FINANCE), ("healthcare", "bay", "hill")),
        named(("finance", *FINANCE), ("healthcare", "nobody", *HEALTHCARE)),
        named(("finance", *FINANCE), ("healthcare", "server", *HEALTHCARE)),
    ],
    ids=["leaves-this-site-out", "names-a-stranger", "names-the-server"],
)
def test_a_manifest_whose_groups_cannot_be_is_refused(founded: LocalFederation, groups: tuple[Group, ...]) -> None:
    """SF324, though the server signed it."""
    name = f"odd-{len(founded.coordinator.rounds())}"
    founded.open_round(name, PROMPTS, groups=GROUPS)
    line = rewritten(founded, name, manifest=lambda true: replace(true, groups=groups))
    with site(founded, "lake", transport=line) as client, pytest.raises(PeerError, match="SF324"):
        client.join(name)


def test_who_enrolled_after_the_round_opened_is_told_so(founded: LocalFederation) -> None:
    """SF306: on the roster of that time it stood in no group, and nobody did wrong."""
    founded.open_round("before", PROMPTS, groups=GROUPS)
    founded.publish_roster(sequence=2)
    parted = named(("finance", *FINANCE), ("healthcare", "bay", "hill"))
    line = rewritten(founded, "before", manifest=lambda true: replace(true, groups=parted))
    with site(founded, "lake", transport=line) as client, pytest.raises(PeerError, match="SF306"):
        client.join("before")


def test_a_site_is_not_moved_to_another_group_after_it_joined(founded: LocalFederation) -> None:
    """The manifest under which it joined is the only one it knows: SF324."""
    founded.open_round("moved-later", PROMPTS, groups=GROUPS)
    with site(founded, "lake") as client:
        client.join("moved-later")
    others = named(("finance", *FINANCE, "lake"), ("healthcare", "bay", "hill"))
    line = rewritten(founded, "moved-later", manifest=lambda true: replace(true, groups=others))
    with site(founded, "lake", transport=line) as client, pytest.raises(PeerError, match="SF324"):
        client.join("moved-later")


LIES: dict[str, Any] = {
    "one-group": lambda true: replace(true, results=true.results[:1], admitted_counts=true.admitted_counts[:1]),
    "a-third": lambda true: replace(
        true, results=(*true.results, true.results[0]), admitted_counts=(*true.admitted_counts, 1)
    ),
    "swapped": lambda true: replace(true, results=true.results[::-1], admitted_counts=true.admitted_counts[::-1]),
    "agreed-by-too-few": lambda true: replace(true, admitted_counts=(1, 3)),
    "more-than-there-are": lambda true: replace(true, admitted_counts=(5, 3)),
    "a-prompt-short": lambda true: replace(true, results=tuple(results[:-1] for results in true.results)),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("member", ["bay", "alder"])
def test_a_consensus_of_other_groups_than_the_manifests_is_refused(
    founded: LocalFederation, lie: str, member: str
) -> None:
    """SF325, by the members of either group: too few, too many, in another order, or of members that are not there."""
    if "lied-about" not in {head.round_id for head in founded.coordinator.rounds()}:
        held(founded, "lied-about", groups=GROUPS)
    line = rewritten(founded, "lied-about", consensus=LIES[lie])
    with site(founded, member, transport=line) as client, pytest.raises(PeerError, match="SF325"):
        client.join("lied-about").wait_for_consensus()
