"""The policy that decides: one loaded document, met with everything it extends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import rfc8785

from semfed_secure.ids import Digest, hex_digest, sha256
from semfed_secure.policy.document import BudgetGrant, DatasetGrant, Effective, Grants, Limits, PolicyDocument
from semfed_secure.policy.tightening import plain

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Source:
    """One document that went into an effective policy."""

    id: str
    version: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class EffectivePolicy:
    """What `engine.decide` decides by.

    ``limits`` and ``effective`` are at least as tight as those of every source; ``grants`` are those of ``document``
    alone. ``digest`` covers all of it and the digest of every source, so it changes when anything that decides does.
    """

    document: PolicyDocument
    effective: Effective
    limits: Limits
    grants: Grants
    sources: tuple[Source, ...]
    digest: Digest

    @property
    def id(self) -> str:
        """The loaded document's id."""
        return self.document.id

    @property
    def version(self) -> str:
        """The loaded document's version."""
        return self.document.version

    def dataset(self, dataset_id: str) -> DatasetGrant | None:
        """The grant of one data set, or None where it is not granted."""
        return next((grant for grant in self.grants.datasets if grant.id == dataset_id), None)

    def budgets(self, dataset_id: str) -> tuple[BudgetGrant, ...]:
        """What the ledger must keep for one data set; empty where it is not granted."""
        grant = self.dataset(dataset_id)
        return grant.budgets if grant else ()

    def as_json(self) -> Mapping[str, object]:
        """The whole effective policy, JSON-ready; RFC 8785 of it is what `digest` covers."""
        header = plain(self.document)
        header.pop("extends")
        return {
            **header,
            "effective": plain(self.effective),
            "limits": plain(self.limits),
            "grants": plain(self.grants),
            "sources": [
                {"id": source.id, "version": source.version, "digest": hex_digest(source.digest)}
                for source in self.sources
            ],
        }


def assemble(
    document: PolicyDocument, *, effective: Effective, limits: Limits, sources: tuple[Source, ...]
) -> EffectivePolicy:
    """Put the parts together and digest them."""
    grants = document.grants or Grants()
    draft = EffectivePolicy(document, effective, limits, grants, sources, Digest(b""))
    digest = sha256(rfc8785.dumps(draft.as_json()))  # type: ignore[arg-type] # plain() yields JSON values only
    return EffectivePolicy(document, effective, limits, grants, sources, digest)


def document_digest(document: PolicyDocument) -> Digest:
    """SHA-256 over RFC 8785 of one validated document: layout and comments do not change it, meaning does."""
    return sha256(rfc8785.dumps(plain(document)))
