"""The report of a review: private files of the site, for the person who decides."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from semfed_secure.client.review import NEAR
from semfed_secure.columns import printable
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.files import make_private_directory, write_private
from semfed_secure.ids import hex_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from semfed_secure.client.review import PromptReview, Review
    from semfed_secure.ids import Digest

REVIEWS = "reviews"
"""Directory below the state directory; only its owner can look into it."""
_SHOWN_TEXT = 160


def document_of(review: Review) -> dict[str, Any]:
    """The whole report, JSON-ready: public prompts, measures and lines, no text of a record."""
    return {
        "prompt_set": {
            "name": review.prompts.name,
            "digest": hex_digest(review.prompts.digest),
            "prompts": len(review.prompts.prompts),
        },
        "records": review.records,
        "canaries": review.canaries,
        "embedder": review.embedder,
        "called_near_from": dict(NEAR),
        "to_look_at": sum(bool(one.reasons) for one in review.ranked),
        "prompts": [_row(rank, one) for rank, one in enumerate(review.ranked, 1)],
    }


def markdown_of(review: Review) -> str:
    """The same for reading: what was compared, then every prompt, the ones to look at first in front."""
    return "\n".join(_lines(review)) + "\n"


def write_report(directory: Path, review: Review) -> tuple[Path, Path]:
    """Write both forms below ``directory``, readable by their owner only, over those of an earlier review.

    Raises:
        ConfigurationError: SF102.
    """
    make_private_directory(directory)
    paths = report_paths(directory, review.prompts.digest)
    texts = (json.dumps(document_of(review), indent=1, ensure_ascii=False) + "\n", markdown_of(review))
    for path, text in zip(paths, texts, strict=True):
        path.unlink(missing_ok=True)
        write_private(path, text.encode())
    return paths


def require_report(directory: Path, digest: Digest) -> Path:
    """The report that a decision rests on.

    Raises:
        ConfigurationError: SF102, this prompt set was not reviewed here.
    """
    path = report_paths(directory, digest)[1]
    if not path.is_file():
        message = f"no review of {hex_digest(digest)} at {path}: run `semfed prompts review` and read it first"
        raise ConfigurationError("SF102", message, path=str(path))
    return path


def report_paths(directory: Path, digest: Digest) -> tuple[Path, Path]:
    """Where the two forms lie: JSON and Markdown."""
    return directory / f"{digest.hex()}.json", directory / f"{digest.hex()}.md"


def _row(rank: int, one: PromptReview) -> dict[str, Any]:
    return {
        "rank": rank,
        "id": one.prompt.id,
        "text": one.prompt.text,
        "nearness": round(one.nearness, 3),
        "reasons": list(one.reasons),
        "canary_lines": list(one.canaries),
        "identifiers": dict(one.identifiers),
        "nearest": {
            near.measure: {
                "value": round(near.value, 3),
                "record_line": near.line,
                "records_near": near.near,
                "candidate": near.candidate,
            }
            for near in one.nearest
        },
    }


def _lines(review: Review) -> Iterator[str]:
    count, marked = len(review.ranked), [one for one in review.ranked if one.reasons]
    compared = "by words and letters" + (f" and by the embedder {review.embedder}" if review.embedder else "")
    yield f"# Review of prompt set {review.prompts.name}"
    yield ""
    yield f"{hex_digest(review.prompts.digest)}, {count} prompts, compared with {review.records} records {compared};"
    yield f"{review.canaries} canaries looked for. {len(marked)} prompts to look at."
    yield ""
    yield "This file says who may be in the data. It stays at this site; nothing of it is for peers."
    yield ""
    yield "Look first at what is near one record only: a question that many records are near is about a topic, one that"
    yield "is near a single record is about a person. That nothing was found does not mean that the prompts are safe."
    yield ""
    yield "| rank | id | nearness | why | prompt |"
    yield "|---|---|---|---|---|"
    for rank, one in enumerate(review.ranked, 1):
        why = "; ".join(one.reasons) or "-"
        yield f"| {rank} | {_cell(one.prompt.id)} | {one.nearness:.2f} | {_cell(why)} | {_cell(one.prompt.text)} |"


def _cell(text: str) -> str:
    line = printable(" ".join(text.split())).replace("|", "\\|")
    return line if len(line) <= _SHOWN_TEXT else line[:_SHOWN_TEXT] + "..."
