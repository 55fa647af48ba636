"""The sentences of a privacy card that do not depend on figures: who sees what, and what no figure says."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from semfed_secure.units import Aggregation, PrivacyUnit, Relation

if TYPE_CHECKING:
    from collections.abc import Mapping

UNITS: Mapping[PrivacyUnit, str] = MappingProxyType(
    {
        PrivacyUnit.ENTITY: "one entity (a patient, a customer) with all its records at this site",
        PrivacyUnit.ORGANISATION: "this organisation with all its records",
    }
)
NEIGHBOURS: Mapping[Relation, str] = MappingProxyType(
    {
        Relation.ADD_OR_REMOVE_ONE: "data with and without one such unit",
        Relation.REPLACE_ONE: "data in which one such unit is exchanged for another",
    }
)
SCOPE = (
    "every charge on this population in this site's ledger, over its lifetime, whatever the round, data set or policy; "
    "charges that were reserved and never confirmed count. Epsilons of charges taken alone do not add up to the total"
)
ATTACKER = (
    "Whoever sees everything that was released, knows every other record and accuses a share of those whose records "
    "were not used, finds at most this share of those whose records were."
)


class View(NamedTuple):
    """Who sees what of one site's releases in an aggregation mode; what is not ``available`` no round can ask for."""

    available: bool
    server: str
    peers: str


VIEWS: Mapping[Aggregation, View] = MappingProxyType(
    {
        Aggregation.DIRECT: View(
            available=True,
            server="each output of this site under its name, as the mechanism left it; deleted when the round ends",
            peers="the signed statement about each bundle, and the agreed label or text of each prompt with its "
            "support; an agreed text is one member's text, without its name",
        ),
        Aggregation.CLUSTERED: View(
            available=False,
            server="sums over a cluster of members",
            peers="the agreed label of each prompt with its support",
        ),
        Aggregation.SPLIT: View(
            available=False,
            server="one random share of each output; a helper sees the other, and both together see the output",
            peers="the agreed label of each prompt with its support",
        ),
    }
)

STANDING_HAZARDS = (
    (
        "The figures are per unit and for this site's data alone. Of somebody whose records lie with several members "
        "the losses add up, and no member can see the sum."
    ),
    (
        "They bound what releases reveal about one unit's presence, not what is learned about everybody: a pattern "
        "that holds with and without each single unit is meant to be learned."
    ),
    (
        "They hold if each mechanism's assumptions do, above all that the base model was never tuned on this "
        "population and that no prompt was made from its records. A log cannot show that."
    ),
    (
        "Protection is declared and signed by the site; nobody else can check that it was applied. A false statement "
        "can be shown later."
    ),
    "Detectors find identifiers with a known shape. They are a seat belt, no part of these figures.",
)
NO_NOISE = (
    "Outputs left without noise: for them there is no guarantee at all. That is for synthetic or public data only."
)
HARDLY_A_BOUND = (
    "At such an epsilon the bound alone excludes little: it allows an attacker who finds most of those whose records "
    "were used. What a real attacker reaches may be far less, and only an attack can show it."
)
KEY_OF_THE_LOG = (
    "The log itself named the key that it was verified with: compare it with the member record before relying on this."
)
NOT_AUDITED = (
    "Nobody has attacked this site's training to see whether the figures hold in practice: they rest on proofs and on "
    "the tests of the implementation."
)
NOT_PASSED = (
    "An audit by attack of this site did not pass: see below whether it refuted a claimed epsilon or could not tell."
)
ATTACKED = (
    "What an attack could show is a lower bound on epsilon, found on made-up people with the site's own configuration. "
    "It refutes a claim that it exceeds; that it stays below one is no proof."
)
