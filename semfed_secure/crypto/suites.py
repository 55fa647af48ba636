"""The suites: which algorithms go together, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from semfed_secure.crypto.kems import P256, X_WING, Kem
from semfed_secure.wire.cose import Algorithm


class Suite(StrEnum):
    """A named set of algorithms that are used together."""

    HYBRID_PQ = "hybrid-pq"
    NIST_P256 = "nist-p256"


@dataclass(frozen=True, slots=True)
class SuiteDefinition:
    """What a suite's keys are made of.

    Attributes:
        signatures: The algorithms of a signing key, in the order in which a message carries their signatures: all
            of one row must verify. The first row is what is generated; a key kept in an HSM or key service may ask
            for another.
        kem: How outputs are sealed.
    """

    signatures: tuple[tuple[Algorithm, ...], ...]
    kem: Kem


SUITES: dict[Suite, SuiteDefinition] = {
    Suite.HYBRID_PQ: SuiteDefinition(
        ((Algorithm.ED25519, Algorithm.ML_DSA_65), (Algorithm.ESP256, Algorithm.ML_DSA_65)), X_WING
    ),
    Suite.NIST_P256: SuiteDefinition(((Algorithm.ESP256,),), P256),
}
MAX_PARTS = max(len(row) for suite in SUITES.values() for row in suite.signatures)
"""Signatures of one signer on a message."""
