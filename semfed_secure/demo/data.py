"""The data of a demo federation, read from a directory: the example's, or a user's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from semfed_secure.errors import ConfigurationError

Text = Annotated[str, Field(min_length=1, max_length=4096)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]

Kind = TypeVar("Kind", bound=BaseModel)

HONEST_AT_LEAST = 3
"""Fewer sites than this cannot agree against one that lies."""


class Document(BaseModel):
    """A frozen part of the data; an unknown key is an error, because it may be a misspelt one."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(Document):
    """One phrase: whose it is, what is asked about, and its right answers (label, title)."""

    id: str = ""
    entity_id: str = ""
    text: Text
    label: Text = ""
    title: Text = ""


class SitePlan(Document):
    """One site: the labels that it has no records of, and those that it has few of."""

    id: Name
    missing: tuple[Text, ...] = ()
    few: tuple[Text, ...] = ()


class Description(Document):
    """``federation.json``: what is known about the data beside the rows.

    ``templates`` turn a row's text into a question, per output kind; ``answers`` name the row's field that answers it.
    """

    federation: Name
    domain: Name
    jurisdiction: Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]
    dataset: Name
    classification: Name
    max_records_per_entity: Annotated[int, Field(ge=1)] = 1
    templates: dict[str, Text]
    answers: dict[str, Annotated[str, Field(pattern="^(label|title)$")]]
    sites: Annotated[tuple[SitePlan, ...], Field(min_length=HONEST_AT_LEAST)]


class FederationData:
    """Everything in one data directory, validated when it is read.

    Whoever holds this knows that every site has records, that each names its entity, that every label is one of the
    candidates, and that no site has a record of a label that it is said to lack.
    """

    def __init__(self, directory: Path) -> None:
        """Read ``directory``; its layout is described in ``examples/hospital_coding/README.md``.

        Raises:
            ConfigurationError: SF102 if a file is missing, SF104 if one is not valid.
        """
        self.directory = directory
        self.description = _parse(Description, _read(directory / "federation.json"), "federation.json")
        self.candidates: tuple[str, ...] = tuple(_json(directory / "candidates.json"))
        self.policy = directory / "policy.yaml"
        _read(self.policy)
        self.prompts = self._rows("public_prompts.jsonl")
        self.validation = self._rows("validation.jsonl")
        self.heldout = self._rows("heldout.jsonl")
        gold = directory / "public_prompts_gold.jsonl"
        self.gold = self._rows(gold.name) if gold.exists() else ()
        self.records = {site.id: self._records(site) for site in self.description.sites}

    def _records(self, site: SitePlan) -> tuple[Row, ...]:
        """The private records of one site, checked against its plan."""
        name = f"sites/{site.id}/train.jsonl"
        rows = self._rows(name)
        if not rows or not all(row.entity_id for row in rows):
            raise ConfigurationError("SF104", f"{name}: at least one record, each with an `entity_id`, is needed")
        lacking = {row.label for row in rows} & set(site.missing)
        if lacking:
            raise ConfigurationError("SF104", f"{name}: has records of `{min(lacking)}`, which the site should lack")
        return rows

    def _rows(self, name: str) -> tuple[Row, ...]:
        """The rows of one file, every label known."""
        rows = tuple(_rows(self.directory / name))
        unknown = {row.label for row in rows if row.label} - set(self.candidates)
        if unknown:
            raise ConfigurationError("SF104", f"{name}: label `{min(unknown)}` is not among the candidates")
        return rows

    def question(self, row: Row, kind: str) -> str:
        """The prompt that asks about ``row``."""
        return self.description.templates[kind].replace("{text}", row.text)

    def answer(self, row: Row, kind: str) -> str:
        """The right answer of ``row``."""
        return row.label if self.description.answers[kind] == "label" else row.title


def _rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_read(path).splitlines(), start=1):
        if line.strip():
            yield _parse(Row, line, f"{path.name} line {number}")


def _parse(kind: type[Kind], text: str, where: str) -> Kind:
    """``text`` as a ``kind``; the error names the field, never a value."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        row = error.errors()[0]
        raise ConfigurationError("SF104", f"{where}: {'.'.join(map(str, row['loc']))}: {row['msg']}") from None


def _json(path: Path) -> list[Any]:
    """A JSON list of texts."""
    try:
        found = json.loads(_read(path))
    except json.JSONDecodeError:
        raise ConfigurationError("SF104", f"{path.name}: not JSON") from None
    if not isinstance(found, list) or not all(isinstance(item, str) and item for item in found):
        raise ConfigurationError("SF104", f"{path.name}: a list of texts is needed")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("SF102", f"cannot read {path}: {type(error).__name__}", path=str(path)) from error
