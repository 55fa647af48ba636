"""The seat belt before the door: detectors read every text that would leave."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.client.outputs import Outputs, Texts, Unread, tidy
from semfed_secure.detect import DETECTOR, scan

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Screened:
    """Outputs after the detectors: what was found is withheld, and counted by kind; no text is kept.

    ``texts`` counts what there was to read, and ``detectors`` names those that read all of it: none where there was no
    text. ``failed`` means that a detector broke; the policy then denies, whatever else it says.
    """

    outputs: Outputs | Unread
    texts: int
    detectors: tuple[str, ...]
    findings: Mapping[str, int]
    withheld: int
    failed: bool


def screen(outputs: Outputs | Unread, *, max_new_tokens: int) -> Screened:
    """Scan every text; one with a finding becomes an abstention.

    Votes and ballots name public candidates only: there is no text in them, and no detector runs. No findings never
    means safe; differential privacy is the guarantee.
    """
    if not isinstance(outputs, Texts):
        return Screened(outputs, 0, (), {}, withheld=0, failed=False)
    texts = sum(text is not None for text in outputs.answers)
    kept: list[str | None] = []
    findings: Counter[str] = Counter()
    withheld = 0
    for raw in outputs.answers:
        text = tidy(raw, max_new_tokens=max_new_tokens)
        try:
            found = scan(text) if text is not None else ()
        except Exception:  # noqa: BLE001 - a detector that breaks must block, whatever broke it
            return Screened(outputs, texts, (), dict(findings), withheld=withheld, failed=True)
        findings.update(finding.kind for finding in found)
        withheld += bool(found)
        kept.append(None if found else text)
    return Screened(Texts(tuple(kept)), texts, (DETECTOR,), dict(findings), withheld=withheld, failed=False)
