"""The site file: one TOML document that names everything a site brings to a federation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from semfed_secure.ids import parse_digest
from semfed_secure.llm.settings import LocalSettings
from semfed_secure.privacy.parameters import MAX_POPULATION, MAX_STEPS
from semfed_secure.settings import (
    Delta,
    Epsilon,
    FilePath,
    IdentitySection,
    Name,
    Section,
    Written,
    load_toml,
    model_source,
)
from semfed_secure.units import Mechanism, Provenance

if TYPE_CHECKING:
    from pathlib import Path


def _digest(text: str) -> str:
    parse_digest(text)
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if not parts.hostname or parts.port == 0:  # a port that is none raises by itself
        raise ValueError("must be an address, such as https://hub.example:8440")
    return text


PrintedDigest = Annotated[str, AfterValidator(_digest)]
Url = Annotated[str, Field(pattern=r"^https?://[^\s]+$"), AfterValidator(_url)]
Count = Annotated[int, Field(ge=1, le=MAX_STEPS)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class SiteSection(Section):
    """Who this site is, and where it remembers everything.

    Attributes:
        federation: The federation's name.
        member: This site's id there, as its member record says it.
        state: Directory of the ledger, the audit log, the outbox and the adapters; made if it is missing.
    """

    federation: Name
    member: Name
    state: FilePath


class FederationSection(Section):
    """The federation root that the site trusts, and the server that it takes part with.

    Attributes:
        root: The file ``federation.root`` that the founders of the federation hand out.
        server_id: The server's member id.
        root_digest: Pins the root on purpose; without it the first one seen is pinned.
    """

    root: FilePath
    server_id: Name
    root_digest: PrintedDigest | None = None


class ServerSection(Section):
    """Where and how the server is reached; who it is, is decided by its signatures.

    Attributes:
        url: Its address.
        timeout_seconds: Seconds without a byte of progress after which a request is given up, to be sent again.
        ca: The authority whose server certificates are believed, such as the federation's `tls-ca.pem`; without it
            those of the operating system.
        certificate: This site's certificate, as `semfed federation issue-tls` issues it, if the server demands one.
        key: The certificate's key, PEM, mode 0600.
        passphrase_file: Holds the key's passphrase; without it the variable `SEMFED_PASSPHRASE` does.
        proxy: The address of an HTTP proxy on the way, or `environment`: as the variables `https_proxy`,
            `http_proxy` and `no_proxy` say. Without it they are not looked at.
    """

    url: Url
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 30.0
    ca: FilePath | None = None
    certificate: FilePath | None = None
    key: FilePath | None = None
    passphrase_file: FilePath | None = None
    proxy: Url | Literal["environment"] | None = None

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")
        if (self.ca or self.certificate) and not self.url.startswith("https:"):
            raise ValueError("ca and certificate need an https address")
        return self


class PolicySection(Section):
    """The policy that decides whatever this site does.

    Attributes:
        file: The policy, YAML or TOML.
        digest: Pins it on purpose; without it the first one seen is pinned.
    """

    file: FilePath
    digest: PrintedDigest | None = None


class DataSection(Section):
    """The private data: which data set, whose data it is, and public bounds on it.

    Attributes:
        dataset: The data set's id, as the policy grants it.
        population: The stable id of the people behind the data: the privacy budget belongs to it, so an extract
            under a new name refills nothing.
        classification: What kind of data it is, in the policy's words, such as ``phi`` or ``synthetic``.
        population_bound: A public upper bound on the number of entities.
        max_records_per_entity: How many records of one entity count; further ones are left out.
        records: The private records that the commands read, JSON lines with ``entity_id``, ``prompt`` and
            ``completion``; without it they are named by ``--records``.
    """

    dataset: Text
    population: Text
    classification: Text
    population_bound: Annotated[int, Field(ge=1, le=MAX_POPULATION)]
    max_records_per_entity: Count = 1
    records: FilePath | None = None


class LocalModelSection(Section):
    """Weights on this machine.

    Attributes:
        kind: This kind of model.
        source: A directory, or a hub name (``name`` or ``name@revision``) that is fetched unless ``HF_HUB_OFFLINE=1``;
            safetensors only, never remote code.
        family: The model's name in policies.
        provenance: What the weights were made from: `public` (public or synthetic data only), `own_population` (records
            of this site's population too) or `unknown`. Whoever writes it answers for it; noise added here protects
            nobody whom the weights hold already, so policies refuse what is not `public`.
        digest: Pins the weights on purpose; without it the first ones seen are pinned.
        settings: How the model is adapted; the table below.
    """

    kind: Literal["local"]
    source: Annotated[Text, AfterValidator(model_source)]
    family: Text
    provenance: Written[Provenance] = Provenance.UNKNOWN
    digest: PrintedDigest | None = None
    settings: LocalSettings = LocalSettings()


class RemoteModelSection(Section):
    """A model behind an OpenAI-compatible endpoint: it answers, and nothing of it is trained here.

    Attributes:
        kind: This kind of model.
        source: Base of the API; plain HTTP only to this machine.
        name: The model's name at the endpoint.
        family: The model's name in policies.
        provenance: As of local weights: what whoever runs the endpoint says.
        scoring: How candidates are compared: ``choice`` shows them numbered and reads the number that the model
            answers, ``likelihood`` sums the log-probabilities of their tokens.
        api_key_file: Holds the bearer token, if the endpoint wants one.
        timeout_seconds: Seconds that one request may take.
    """

    kind: Literal["openai"]
    source: Url
    name: Text
    family: Text
    provenance: Written[Provenance] = Provenance.UNKNOWN
    scoring: Literal["choice", "likelihood"] = "choice"
    api_key_file: FilePath | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 120.0


class AnswersSection(Section):
    """What the site answers.

    Attributes:
        topics: The topics of prompts that it answers; on prompts of another topic it abstains. A prompt that names no
            topic is for everybody, and without this field every prompt is answered.
    """

    topics: Written[tuple[Name, ...]] | None = None


class TrainingSection(Section):
    """One private training run; the noise follows from it and from what the run may cost.

    Attributes:
        steps: Steps of gradient descent.
        expected_entities: Entities in one step, on average; at most ``data.population_bound``. Their ratio is the
            sampling rate.
        clip_norm: Largest L2 norm of one entity's part of a gradient; what is longer is scaled down.
    """

    steps: Count = 15
    expected_entities: Count = 200
    clip_norm: Annotated[float, Field(ge=1e-9, le=1000)] = 0.5


_RUN_HERE = (Mechanism.DP_SGD, Mechanism.RECORD_HISTOGRAM, Mechanism.UNSAFE_NO_NOISE)
"""The others are functions of `privacy`, with a cost, which no step of a client calls."""


class PrivacySection(Section):
    """How outputs are protected, and what one charge (a training run, or a noised release) may cost by itself.

    Attributes:
        mechanism: ``dp_sgd`` trains with noise, ``record_histogram`` noises the votes of the site's own records,
            ``unsafe_no_noise`` protects nothing and needs a policy that allows it. No client runs the others yet.
        epsilon: Cost of one charge, above 0 and at most 1000; absent under ``unsafe_no_noise``, required otherwise.
        delta: The same, above 0 and at most 0.001.
    """

    mechanism: Written[Mechanism]
    epsilon: Epsilon | None = None
    delta: Delta | None = None

    @field_validator("mechanism")
    @classmethod
    def _can_be_run(cls, mechanism: Mechanism) -> Mechanism:
        if mechanism not in _RUN_HERE:
            raise ValueError(f"no client runs {mechanism} yet; it runs {', '.join(_RUN_HERE)}")
        return mechanism

    @model_validator(mode="after")
    def _states_its_cost(self) -> Self:
        noiseless = self.mechanism is Mechanism.UNSAFE_NO_NOISE
        if noiseless != (self.epsilon is None) or noiseless != (self.delta is None):
            raise ValueError("epsilon and delta belong to every mechanism but unsafe_no_noise, which has none")
        return self


class ValidationSection(Section):
    """Public labelled prompts by which a new adapter is kept or rolled back.

    Never private data: the score decides what happens next, and that must not depend on records outside the ledger.

    Attributes:
        file: JSON lines with ``prompt``, ``answer`` and, for a closed question, ``candidates``.
        max_score_drop: By how much the share of right answers may fall before a new adapter is rolled back.
    """

    file: FilePath
    max_score_drop: Annotated[float, Field(ge=0, le=1)] = 0.02


class EvaluationSection(Section):
    """Public labelled prompts whose scores are written to the state directory and decide nothing.

    Attributes:
        file: JSON lines, as under ``[validation]``.
    """

    file: FilePath


class ReviewSection(Section):
    """What a review of a prompt set compares it with besides words and letters; nothing of it leaves the site.

    Attributes:
        embedder: A sentence embedder that compares by meaning: a directory, or a hub name as of a model.
        canaries: Texts that were planted among the records, one a line; a prompt that holds one was written by
            somebody who has read the records.
    """

    embedder: Annotated[Text, AfterValidator(model_source)] | None = None
    canaries: FilePath | None = None


class MemberConfig(Section):
    """A whole witness file, validated: what every member names that speaks with the server."""

    site: SiteSection
    identity: IdentitySection
    federation: FederationSection
    server: ServerSection


class SiteConfig(MemberConfig):
    """A whole site file, validated."""

    policy: PolicySection
    data: DataSection
    model: Annotated[LocalModelSection | RemoteModelSection, Field(discriminator="kind")]
    privacy: PrivacySection
    answers: AnswersSection = AnswersSection()
    training: TrainingSection = TrainingSection()
    validation: ValidationSection | None = None
    evaluation: EvaluationSection | None = None
    review: ReviewSection = ReviewSection()

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
