"""What the operator is told about a round: the stored report, and the status of any round."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.clock import from_ms, to_iso
from semfed_secure.crypto.keys import SealingKey
from semfed_secure.ids import hex_digest
from semfed_secure.wire.messages import Contribution, encode_contribution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from semfed_secure.consensus import RoundReport
    from semfed_secure.ids import Digest
    from semfed_secure.server.stored import StoredTerms
    from semfed_secure.storage.round_rows import ContributionRow, RoundHeadRow


@dataclass(frozen=True, slots=True, kw_only=True)
class FormingFigures:
    """What the coordinator measured while it formed a consensus.

    Attributes:
        consensus_digest: Digest of the consensus.
        consensus_bytes: Size of the signed consensus.
        seconds: Time by phase.
        refused_before_signature: Refusals that no member could be held to, by code.
        remembers: The rounds whose reports the weights rest on too, the newest first.
    """

    consensus_digest: Digest
    consensus_bytes: int
    seconds: Mapping[str, float]
    refused_before_signature: Mapping[str, int]
    remembers: tuple[str, ...] = ()


def report_document(
    reports: Sequence[RoundReport], counted: Sequence[ContributionRow], terms: StoredTerms, figures: FormingFigures
) -> str:
    """The JSON that is stored with a formed round; ``groups`` has one report each, or one without a name.

    It names members and is the operator's: no client and no signed message ever carries it.
    """
    recipient = SealingKey.parse(terms.manifest.recipient_key)
    names: list[str | None] = [group.name for group in terms.manifest.groups]
    document = {
        "groups": [{"group": name} | report.as_json() for name, report in zip(names or [None], reports, strict=True)],
        "rule": terms.manifest.rule.name,
        "consensus_digest": hex_digest(figures.consensus_digest),
        "bytes": {
            "manifest": len(terms.manifest_bytes),
            "prompt_set": len(terms.prompt_set_bytes),
            "consensus": figures.consensus_bytes,
            "contributions": {row.member_id: body_bytes(row, recipient) for row in counted},
            "receipts": {row.member_id: len(row.receipt or b"") for row in counted},
        },
        "seconds": dict(figures.seconds),
        "refused_before_signature": dict(figures.refused_before_signature),
        "remembers": list(figures.remembers),
    }
    return json.dumps(document, sort_keys=True)


def body_bytes(row: ContributionRow, recipient: SealingKey) -> int:
    """Size of the admitted body that this row was made of: sealing to ``recipient`` adds a fixed number of bytes."""
    sealed = bytes(len(row.payload or b"") + recipient.overhead_bytes)
    return len(encode_contribution(Contribution(row.statement, (sealed,))))


def status_document(
    head: RoundHeadRow, terms: StoredTerms, rows: Sequence[ContributionRow], *, expected: Sequence[str]
) -> dict[str, object]:
    """Where a round stands, with names: for the operator."""
    manifest = terms.manifest
    return {
        "round_id": head.round_id,
        "state": head.state,
        "reason": head.reason,
        "kind": manifest.kind.value,
        "prompts": manifest.prompt_count,
        "opens_at": to_iso(from_ms(manifest.opens_at_ms)),
        "closes_at": to_iso(from_ms(manifest.closes_at_ms)),
        "opening_ends_at": _instant(manifest.opening_ends_at_ms),
        "groups": {group.name: list(group.members) for group in manifest.groups},
        "expected": list(expected),
        "committed": [row.member_id for row in rows if row.outcome == "committed"],
        "admitted": [row.member_id for row in rows if row.outcome == "admitted"],
        "refused": [{"member": row.member_id, "code": row.code} for row in rows if row.outcome == "rejected"],
    }


def _instant(at_ms: int | None) -> str | None:
    return None if at_ms is None else to_iso(from_ms(at_ms))
