"""The data directory of a demo federation, as an example's builder writes it; `semfed_secure.demo.data` reads it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from semfed_secure.demo.data import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path


def write_federation(
    directory: Path,
    *,
    description: Mapping[str, object],
    policy: Path,
    candidates: Sequence[str],
    public: Mapping[str, Sequence[Row]],
    records: Mapping[str, Iterable[Row]],
) -> None:
    """Write ``directory``, which is created; what it held is replaced.

    Args:
        directory: Where to write; which file holds what stands in ``examples/hospital_coding/README.md``.
        description: ``federation.json``.
        policy: The file that becomes ``policy.yaml``.
        candidates: What a vote can be.
        public: The rows of ``prompts``, ``validation`` and ``heldout``.
        records: The private rows of each site, with their entities.
    """
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)
    prompts, validation, heldout = (
        [row.model_copy(update={"id": f"{name[0]}{n:04}"}) for n, row in enumerate(public[name])]
        for name in ("prompts", "validation", "heldout")
    )
    _write_rows(directory / "heldout.jsonl", heldout)
    _write_rows(directory / "validation.jsonl", validation)
    _write_rows(directory / "public_prompts.jsonl", [Row(id=row.id, text=row.text) for row in prompts])
    # The right answers of the prompts, for measuring the consensus only: no site and no server reads this file.
    _write_rows(directory / "public_prompts_gold.jsonl", prompts)
    _write_json(directory / "candidates.json", candidates)
    _write_json(directory / "federation.json", description)
    shutil.copyfile(policy, directory / "policy.yaml")
    for site, rows in records.items():
        (directory / "sites" / site).mkdir(parents=True)
        _write_rows(directory / "sites" / site / "train.jsonl", rows)


def distinct(rows: Iterable[Row], normalised: Callable[[str], str]) -> list[Row]:
    """The first row of each normalised text; a text that stands for two labels, or for nothing, is left out."""
    found: dict[str, Row | None] = {}
    for row in rows:
        known = found.setdefault(normalised(row.text), row)
        if known is not None and known.label != row.label:
            found[normalised(row.text)] = None
    return [row for text, row in found.items() if text and row is not None]


def _write_rows(path: Path, rows: Iterable[Row]) -> None:
    lines = (json.dumps(row.model_dump(exclude_defaults=True), ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def _write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
