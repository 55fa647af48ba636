"""The data of a demo federation, read from a directory: the example's, or a user's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from semfed_secure.errors import ConfigurationError
from semfed_secure.settings import DecimalText
from semfed_secure.units import Provenance

Text = Annotated[str, Field(min_length=1, max_length=4096)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]

OutputName = Annotated[str, Field(pattern="^(votes|text)$")]

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
    """One site: the labels that it has no records of, those that it has few of, where its own black box is reached."""

    id: Name
    missing: tuple[Text, ...] = ()
    few: tuple[Text, ...] = ()
    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s]+$")] | None = None


class BlackBox(Document):
    """Models that are asked and never looked into, in place of the demo's own, which it trains.

    ``model`` is what their OpenAI-compatible endpoints and the sites' policies call them. What a site releases are its
    entities' own votes under ``mechanism``; one round costs it ``epsilon`` and ``delta``. ``provenance`` is what they
    were made from, as their owner says.
    """

    model: Name
    provenance: Annotated[Provenance, Field(strict=False)] = Provenance.UNKNOWN
    mechanism: Literal["record_histogram"]
    epsilon: Annotated[DecimalText, Field(gt=0)]
    delta: Annotated[DecimalText, Field(gt=0, lt=1)]


class Description(Document):
    """``federation.json``: what is known about the data beside the rows.

    ``templates`` turn a row's text into a question, per output kind; ``answers`` name the row's field that answers it.
    ``population_bound`` is what a site says in public: it has no more entities than that.
    ``rounds`` are the kinds of the rounds, in their order; without them one round of each kind that has a template.
    ``black_box`` says that the sites' models only answer; without it the demo brings small models and trains them.
    """

    federation: Name
    domain: Name
    jurisdiction: Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]
    dataset: Name
    classification: Name
    population_bound: Annotated[int, Field(ge=2)]
    max_records_per_entity: Annotated[int, Field(ge=1)] = 1
    templates: Annotated[dict[OutputName, Text], Field(min_length=1)]
    answers: dict[OutputName, Annotated[str, Field(pattern="^(label|title)$")]]
    rounds: tuple[OutputName, ...] = ()
    black_box: BlackBox | None = None
    sites: Annotated[tuple[SitePlan, ...], Field(min_length=HONEST_AT_LEAST)]

    @model_validator(mode="after")
    def _rounds_can_be_held(self) -> Self:
        kinds = set(self.rounds or self.templates)
        unasked = kinds - (self.templates.keys() & self.answers.keys())
        if unasked:
            raise ValueError(f"a round of `{min(unasked)}` needs its template and its answer")
        if self.black_box is not None and kinds != {"votes"}:
            raise ValueError("black boxes release votes and nothing else: every round must be one of `votes`")
        if self.black_box is None and any(site.endpoint is not None for site in self.sites):
            raise ValueError("a site's `endpoint` is that of a black box: say so by `black_box`")
        return self


class FederationData:
    """Everything in one data directory, validated when it is read.

    Whoever holds this knows that every site has records, that each names its entity, that every label is one of the
    candidates, that no site has a record of a label that it is said to lack or more entities than the public bound,
    that something is asked, checked and measured, and that the policy grants the data set.
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
        self.population = _population(self.policy, self.description.dataset)
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
        if not all(row.entity_id for row in rows):
            raise ConfigurationError("SF104", f"{name}: records, each with an `entity_id`, are needed")
        if len({row.entity_id for row in rows}) > self.description.population_bound:
            raise ConfigurationError("SF104", f"{name}: more entities than federation.json's `population_bound`")
        lacking = {row.label for row in rows} & set(site.missing)
        if lacking:
            raise ConfigurationError("SF104", f"{name}: has records of `{min(lacking)}`, which the site should lack")
        return rows

    def _rows(self, name: str) -> tuple[Row, ...]:
        """The rows of one file, one at least, every label known."""
        rows = tuple(_rows(self.directory / name))
        if not rows:
            raise ConfigurationError("SF104", f"{name}: at least one row is needed")
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


def _population(policy: Path, dataset: str) -> str:
    """The population that the policy's grant says the data set is of."""
    try:
        grants = yaml.safe_load(_read(policy))["grants"]["datasets"]
        return next(str(grant["population"]) for grant in grants if grant["id"] == dataset)
    except (yaml.YAMLError, KeyError, TypeError, StopIteration, RecursionError):
        needed = f"policy.yaml: a policy whose `grants.datasets` grants `{dataset}` with its `population` is needed"
        raise ConfigurationError("SF104", needed) from None


def _rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_read(path).split("\n"), start=1):  # a text may hold other line separators
        if line.strip():
            yield _parse(Row, line, f"{path.name} line {number}")


def _parse(kind: type[Kind], text: str, where: str) -> Kind:
    """``text`` as a ``kind``; the error names the field, never a value."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        row = error.errors()[0]
        place = ".".join(map(str, row["loc"]))
        raise ConfigurationError("SF104", ": ".join(filter(None, (where, place, row["msg"])))) from None


def _json(path: Path) -> list[Any]:
    """A JSON list of texts."""
    try:
        found = json.loads(_read(path))
    except (ValueError, RecursionError):
        raise ConfigurationError("SF104", f"{path.name}: not JSON") from None
    if not isinstance(found, list) or not all(isinstance(item, str) and item for item in found):
        raise ConfigurationError("SF104", f"{path.name}: a list of texts is needed")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("SF102", f"cannot read {path}: {type(error).__name__}", path=str(path)) from error
