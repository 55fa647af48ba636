"""The site file: one TOML document that names everything a site brings to a federation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from semfed_secure.ids import parse_digest
from semfed_secure.settings import DecimalText, FilePath, IdentitySection, Name, Section, load_toml, model_source
from semfed_secure.units import Mechanism

if TYPE_CHECKING:
    from pathlib import Path


def _digest(text: str) -> str:
    parse_digest(text)
    return text


PrintedDigest = Annotated[str, AfterValidator(_digest)]
Positive = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class SiteSection(Section):
    """Who this site is, and the directory where it remembers everything (ledger, log, outbox, adapters)."""

    federation: Name
    member: Name
    state: FilePath


class FederationSection(Section):
    """The federation root that the site trusts, and the server that it takes part with.

    ``root_digest`` pins the root on purpose; without it the first one seen is pinned.
    """

    root: FilePath
    server_id: Name
    root_digest: PrintedDigest | None = None


class ServerSection(Section):
    """Where the server is reached; who it is, is decided by its signatures."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 30.0


class PolicySection(Section):
    """The site's policy. ``digest`` pins it on purpose; without it the first one seen is pinned."""

    file: FilePath
    digest: PrintedDigest | None = None


class DataSection(Section):
    """The private data: which data set, whose data it is, and public bounds on it.

    ``population`` is the stable id of the people behind the data: the privacy budget belongs to it, so an extract
    under a new name refills nothing. ``population_bound`` is a public upper bound on the number of entities.
    """

    dataset: Text
    population: Text
    classification: Text
    population_bound: Positive
    max_records_per_entity: Positive = 1
    records: FilePath | None = None


class LocalModelSection(Section):
    """Weights on this machine: ``source`` is a directory, or the hub name of one that lies in the local cache.

    ``digest`` pins the weights on purpose; without it the first ones seen are pinned.
    """

    kind: Literal["local"]
    source: Annotated[Text, AfterValidator(model_source)]
    family: Text
    digest: PrintedDigest | None = None
    settings: dict[str, Any] = Field(default_factory=dict)


class RemoteModelSection(Section):
    """A model behind an OpenAI-compatible endpoint; ``api_key_file`` holds its bearer token, if it wants one."""

    kind: Literal["openai"]
    source: Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
    name: Text
    family: Text
    scoring: Literal["choice", "likelihood"] = "choice"
    api_key_file: FilePath | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 120.0


class TrainingSection(Section):
    """One private training run: how many steps, of how many expected entities, clipped where."""

    steps: Positive = 15
    expected_entities: Positive = 200
    clip_norm: Annotated[float, Field(gt=0, le=1000)] = 0.5


class PrivacySection(Section):
    """How outputs are protected, and what one charge (a training run, or a noised release) may cost by itself."""

    mechanism: Mechanism
    epsilon: DecimalText | None = None
    delta: DecimalText | None = None

    @model_validator(mode="after")
    def _states_its_cost(self) -> Self:
        noiseless = self.mechanism is Mechanism.UNSAFE_NO_NOISE
        if noiseless != (self.epsilon is None) or noiseless != (self.delta is None):
            raise ValueError("epsilon and delta belong to every mechanism but unsafe_no_noise, which has none")
        return self


class ValidationSection(Section):
    """Public labelled prompts by which a new adapter is kept or rolled back.

    Never private data: the score decides what happens next, and that must not depend on records outside the ledger.
    """

    file: FilePath
    max_score_drop: Annotated[float, Field(ge=0, le=1)] = 0.02


class EvaluationSection(Section):
    """Public labelled prompts whose scores are written to the state directory and decide nothing."""

    file: FilePath


class SiteConfig(Section):
    """A whole site file, validated."""

    site: SiteSection
    identity: IdentitySection
    federation: FederationSection
    server: ServerSection
    policy: PolicySection
    data: DataSection
    model: Annotated[LocalModelSection | RemoteModelSection, Field(discriminator="kind")]
    privacy: PrivacySection
    training: TrainingSection = TrainingSection()
    validation: ValidationSection | None = None
    evaluation: EvaluationSection | None = None

    @model_validator(mode="after")
    def _batches_fit_the_population(self) -> Self:
        if self.training.expected_entities > self.data.population_bound:
            raise ValueError("training.expected_entities must be at most data.population_bound")
        return self


def load_site_config(path: Path) -> SiteConfig:
    """Read and validate a site file.

    Every problem is reported at once, each with its field; a file that loads has no unknown key.

    Raises:
        ConfigurationError: SF102 if the file cannot be read, SF101 if it is not TOML or a field is not valid.
    """
    return load_toml(SiteConfig, path)
