"""The server file: one TOML document that names everything a consensus server needs."""

from __future__ import annotations

import ipaddress
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from semfed_secure.settings import (
    Delta,
    Epsilon,
    FilePath,
    IdentitySection,
    Name,
    Section,
    Written,
    beside_the_file,
    load_toml,
    model_source,
)
from semfed_secure.units import Mechanism, PrivacyUnit, Relation
from semfed_secure.wire.manifest import MAX_WITNESSES
from semfed_secure.wire.prompts import MAX_PROPOSED


def _address(text: str) -> str:
    ipaddress.ip_address(text)  # says by itself what is wrong
    return text


Address = Annotated[str, AfterValidator(_address)]
Ppm = Annotated[int, Field(ge=0, le=1_000_000)]


class ServerSection(Section):
    """Who the server is, where it remembers everything, and where it listens.

    Attributes:
        federation: The federation's name.
        member: The server's id there, as its member record says it.
        database: A path beside this file, whose directory exists, or a ``postgresql://`` URL.
        host: The address that it listens on.
        port: The TCP port; 0 takes a free one and prints it.
        trusted_proxies: IP addresses of the reverse proxies in front, whose `X-Forwarded-For` is believed; without them
            that header is nobody's word, and a limit per address is one for the proxy.
        notice_seconds: How long, after a stop signal, requests are still accepted while `/readyz` says 503, so that a
            load balancer looks elsewhere first.
    """

    federation: Name
    member: Name
    database: str
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8440
    trusted_proxies: Written[tuple[Address, ...]] = ()
    notice_seconds: Annotated[int, Field(ge=0, le=300)] = 0


class TlsSection(Section):
    """TLS 1.3 by the server itself; without this section it speaks plain HTTP, for this machine or a proxy in front.

    Attributes:
        certificate: Its certificate, as `semfed federation issue-tls` or an authority of the institution issues it.
        key: The certificate's key, PEM, mode 0600.
        passphrase_file: Holds the key's passphrase; without it the variable `SEMFED_PASSPHRASE` does.
        client_ca: The authority whose client certificates are believed, such as the federation's `tls-ca.pem`; without
            it no client is asked for one.
        require_client_certificates: Whether who shows none is refused; false lets others read, and post what its
            signatures admit. Who shows one can contribute for its member only.
    """

    certificate: FilePath
    key: FilePath
    passphrase_file: FilePath | None = None
    client_ca: FilePath | None = None
    require_client_certificates: bool = True


class FederationSection(Section):
    """The federation root that the server trusts, and the roster that the root publishes.

    The roster is read again whenever its file changes; an older or unverified one is refused and the last good kept.

    Attributes:
        root: The file ``federation.root``.
        roster: The newest roster that the root signed.
    """

    root: FilePath
    roster: FilePath


class LimitsSection(Section):
    """What strangers and members may take.

    Attributes:
        max_body_bytes: Largest request body, refused while it streams in; a round's own limit may be lower.
        max_open_rounds: Rounds that are not published or aborted.
        max_rejections: Refused contributions of one member in one round that are logged one by one.
        address_rate: Requests per second of one address (of IPv6, one network of 64 bits); more are told when to come
            again.
        address_burst: How many it may make at once after a pause.
        member_rate: The same for one member, where its TLS certificate names it.
        member_burst: Likewise.
    """

    max_body_bytes: Annotated[int, Field(ge=1_024, le=128 * 1024 * 1024)] = 64 * 1024 * 1024
    max_open_rounds: Annotated[int, Field(ge=1, le=1_000)] = 16
    max_rejections: Annotated[int, Field(ge=1, le=1_000)] = 8
    address_rate: Annotated[int, Field(ge=1, le=100_000)] = 100
    address_burst: Annotated[int, Field(ge=1, le=100_000)] = 400
    member_rate: Annotated[int, Field(ge=1, le=100_000)] = 20
    member_burst: Annotated[int, Field(ge=1, le=100_000)] = 100


class EmbedderSection(Section):
    """The sentence embedder; ``text`` rounds need one.

    Attributes:
        source: A directory, or a hub name that is fetched unless ``HF_HUB_OFFLINE=1``; safetensors only.
        calibration: What ``semfed server calibrate`` wrote; it says ``similarity_ppm``, for these very weights. A round
            whose embedder has others is not opened.
    """

    source: Annotated[str, AfterValidator(model_source)]
    calibration: FilePath | None = None


class FloorSection(Section):
    """The weakest declared privacy that a round admits; declared by clients, not proven.

    Attributes:
        max_epsilon: Largest lifetime epsilon, above 0 and at most 1000.
        max_delta: Largest delta, above 0 and at most 0.001.
        unit: Whose presence is hidden.
        relation: Which data sets count as neighbours.
        mechanisms: The mechanisms that are admitted.
    """

    max_epsilon: Epsilon = Decimal(8)
    max_delta: Delta = Decimal("0.00001")
    unit: Written[PrivacyUnit] = PrivacyUnit.ENTITY
    relation: Written[Relation] = Relation.ADD_OR_REMOVE_ONE
    mechanisms: Annotated[Written[tuple[Written[Mechanism], ...]], Field(min_length=1)] = (
        Mechanism.DP_SGD,
        Mechanism.RECORD_HISTOGRAM,
    )


class RoundsSection(Section):
    """Defaults of new rounds; the options of ``semfed round open`` go before them.

    Attributes:
        closes_in_seconds: How long contributions are taken; of texts, commitments to them.
        opening_seconds: How long texts that were committed to are taken after that.
        close_when_complete: Whether a round closes as soon as every client of the roster was admitted.
        min_clients: Answers that a prompt needs, and admitted contributions that a round needs.
        min_support_ppm: Least share of the answering weight behind an agreed label.
        min_margin_ppm: Least lead over the next label.
        similarity_ppm: Least cosine of two texts that count as one answer, where no calibration says it. The default
            is for all-MiniLM-L6-v2 (``benchmarks/similarity.py``); for another embedder or field, calibrate.
        max_candidates: Candidates of one prompt that a round of proposals publishes, of the heaviest groups.
        trim_ppm: Share of the winning texts' weight that is trimmed from the edge.
        weights: ``equal``; ``agreement`` to let behaviour over all prompts take up to half of a weight; or ``anchored``
            to weigh by gold prompts, which each round then brings.
        max_new_tokens: Length of generated answers.
        min_witnesses: Witnesses of other organisations that must vouch for the log before a round opens; sites whose
            policy demands fewer take part too.
        groups: For ``semfed round open --by-group``: the name of a policy domain, and the clients of it; each client of
            the roster stands in one of two or more. Without that option all form one consensus.
        floor: The weakest declared privacy that is admitted.
    """

    closes_in_seconds: Annotated[int, Field(ge=1, le=31 * 86_400)] = 3_600
    opening_seconds: Annotated[int, Field(ge=1, le=31 * 86_400)] = 3_600
    close_when_complete: bool = True
    min_clients: Annotated[int, Field(ge=1, le=1_000)] = 3
    min_support_ppm: Ppm = 500_000
    min_margin_ppm: Ppm = 1
    similarity_ppm: Ppm = 650_000
    trim_ppm: Annotated[int, Field(ge=0, lt=500_000)] = 200_000
    max_candidates: Annotated[int, Field(ge=2, le=MAX_PROPOSED)] = 8
    weights: Literal["equal", "agreement", "anchored"] = "equal"
    max_new_tokens: Annotated[int, Field(ge=1, le=1_024)] = 32
    min_witnesses: Annotated[int, Field(ge=0, le=MAX_WITNESSES)] = 0
    groups: dict[Name, Written[tuple[Name, ...]]] = {}  # noqa: RUF012 - the model is frozen, and pydantic copies it
    floor: FloorSection = FloorSection()

    @model_validator(mode="after")
    def _one_group_each(self) -> Self:
        members = [member for group in self.groups.values() for member in group]
        if len(self.groups) == 1 or not all(self.groups.values()) or len(set(members)) != len(members):
            raise ValueError("groups: two or more, none empty, and nobody twice were expected")
        return self


class ShardingSection(Section):
    """Who does the work of forming a consensus; its bytes are the same whoever does.

    Attributes:
        engine: ``local``: this process, or processes of this machine; ``ray``: actors of a Ray that the server starts
            on this machine for each consensus, for which install ``semfed-secure[ray]``.
        workers: How many; each holds an embedder of its own. One of the engine ``local`` is the server's own process.
        prompts_per_shard: Prompts that a worker is given at once.
    """

    engine: Literal["local", "ray"] = "local"
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    prompts_per_shard: Annotated[int, Field(ge=1, le=20_000)] = 64


class ServerConfig(Section):
    """A whole server file, validated."""

    server: ServerSection
    identity: IdentitySection
    federation: FederationSection
    tls: TlsSection | None = None
    limits: LimitsSection = LimitsSection()
    embedder: EmbedderSection | None = None
    sharding: ShardingSection = ShardingSection()
    rounds: RoundsSection = RoundsSection()

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        if self.embedder and self.embedder.calibration and "similarity_ppm" in self.rounds.model_fields_set:
            raise ValueError("embedder.calibration says rounds.similarity_ppm: leave one of them out")
        return self

    @model_validator(mode="after")
    def _database_beside_the_file(self, info: ValidationInfo) -> Self:
        if "://" in self.server.database:
            return self
        beside = beside_the_file(Path(self.server.database), info)
        return self.model_copy(update={"server": self.server.model_copy(update={"database": str(beside)})})


def load_server_config(path: Path) -> ServerConfig:
    """Read and validate a server file.

    Every problem is reported at once, each with its field; a file that loads has no unknown key.

    Raises:
        ConfigurationError: ``SF102`` if the file cannot be read, ``SF101`` if it is not TOML or a field is not valid.
    """
    return load_toml(ServerConfig, path)
