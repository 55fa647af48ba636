"""The server file: one TOML document that names everything a consensus server needs."""

from __future__ import annotations

import tomllib
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from semfed_secure.errors import ConfigurationError
from semfed_secure.ids import is_name
from semfed_secure.units import Mechanism, PrivacyUnit, Relation

_BASE = "base"


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError("must be 1-63 of a-z 0-9 . _ -")
    return text


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    return Path((info.context or {}).get(_BASE, "")) / path.expanduser()


def _directory_beside_the_file(source: str, info: ValidationInfo) -> str:
    beside = _beside_the_file(Path(source), info)
    return str(beside) if beside.is_dir() else source


def _decimal_text(value: object) -> object:
    # A TOML float has been rounded before anyone could check it.
    if not isinstance(value, str | Decimal):
        raise ValueError('write it as a decimal in quotes, such as "8.0" or "1e-6"')  # noqa: TRY004 (pydantic's protocol)
    try:
        return Decimal(value)
    except InvalidOperation:
        raise ValueError('write it as a decimal in quotes, such as "8.0" or "1e-6"') from None


Name = Annotated[str, AfterValidator(_name)]
FilePath = Annotated[Path, AfterValidator(_beside_the_file)]
"""Relative paths start from the directory of the server file."""
DecimalText = Annotated[Decimal, BeforeValidator(_decimal_text), Field(gt=0)]
Ppm = Annotated[int, Field(ge=0, le=1_000_000)]


class Section(BaseModel):
    """A frozen part of the server file; an unknown key is an error, because it may be a misspelt protection."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSection(Section):
    """Who the server is, where it remembers everything, and where it listens.

    ``database`` is a path beside this file or a ``postgresql://`` URL.
    """

    federation: Name
    member: Name
    database: str
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8440


class IdentitySection(Section):
    """The directory of the server's key files and, unless ``SEMFED_PASSPHRASE`` holds it, the passphrase's file."""

    keys: FilePath
    passphrase_file: FilePath | None = None


class FederationSection(Section):
    """The federation root that the server trusts, and the roster that the root publishes.

    The roster is read again whenever its file changes; an older or unverified one is refused and the last good kept.
    """

    root: FilePath
    roster: FilePath


class LimitsSection(Section):
    """What strangers and members may take.

    Attributes:
        max_body_bytes: Largest request body, refused while it streams in; a round's own limit may be lower.
        max_open_rounds: Rounds that are not published or aborted.
        max_rejections: Refused contributions of one member in one round that are logged one by one.
    """

    max_body_bytes: Annotated[int, Field(ge=1_024, le=128 * 1024 * 1024)] = 64 * 1024 * 1024
    max_open_rounds: Annotated[int, Field(ge=1, le=1_000)] = 16
    max_rejections: Annotated[int, Field(ge=1, le=1_000)] = 8


class EmbedderSection(Section):
    """The sentence embedder for ``text`` rounds: a directory beside this file or anywhere, or a hub name."""

    source: Annotated[str, AfterValidator(_directory_beside_the_file)]


class FloorSection(Section):
    """The weakest declared privacy that a round admits; declared by clients, not proven."""

    max_epsilon: DecimalText = Decimal(8)
    max_delta: DecimalText = Decimal("0.00001")
    unit: PrivacyUnit = PrivacyUnit.ENTITY
    relation: Relation = Relation.ADD_OR_REMOVE_ONE
    mechanisms: Annotated[tuple[Mechanism, ...], Field(min_length=1)] = (Mechanism.DP_SGD, Mechanism.RECORD_HISTOGRAM)


class RoundsSection(Section):
    """Defaults of new rounds; `semfed round open` may override each.

    Attributes:
        closes_in_seconds: How long contributions are taken.
        close_when_complete: Whether a round closes as soon as every client of the roster was admitted.
        min_clients: Answers that a prompt needs, and admitted contributions that a round needs.
        min_support_ppm: Least share of the answering weight behind an agreed label.
        min_margin_ppm: Least lead over the next label.
        similarity_ppm: Least cosine of two texts that count as one answer. At the default, all-MiniLM-L6-v2 joins
            65 % of terms with their ICD-10-CM titles, 3 % of titles of one chapter and none of different chapters;
            for another embedder or field, measure (``benchmarks/similarity.py``).
        trim_ppm: Share of the winning texts' weight that is trimmed from the edge.
        weights: ``equal``, or ``agreement`` to let behaviour over all prompts take up to half of a weight.
        max_new_tokens: Length of generated answers.
        floor: The weakest declared privacy that is admitted.
    """

    closes_in_seconds: Annotated[int, Field(ge=1, le=31 * 86_400)] = 3_600
    close_when_complete: bool = True
    min_clients: Annotated[int, Field(ge=1, le=1_000)] = 3
    min_support_ppm: Ppm = 500_000
    min_margin_ppm: Ppm = 1
    similarity_ppm: Ppm = 650_000
    trim_ppm: Annotated[int, Field(ge=0, lt=500_000)] = 200_000
    weights: Literal["equal", "agreement"] = "equal"
    max_new_tokens: Annotated[int, Field(ge=1, le=1_024)] = 32
    floor: FloorSection = FloorSection()


class ServerConfig(Section):
    """A whole server file, validated."""

    server: ServerSection
    identity: IdentitySection
    federation: FederationSection
    limits: LimitsSection = LimitsSection()
    embedder: EmbedderSection | None = None
    rounds: RoundsSection = RoundsSection()

    @model_validator(mode="after")
    def _database_beside_the_file(self, info: ValidationInfo) -> Self:
        if "://" in self.server.database:
            return self
        beside = Path((info.context or {}).get(_BASE, "")) / Path(self.server.database).expanduser()
        return self.model_copy(update={"server": self.server.model_copy(update={"database": str(beside)})})


def load_server_config(path: Path) -> ServerConfig:
    """Read and validate a server file.

    Every problem is reported at once, each with its field; a file that loads has no unknown key.

    Raises:
        ConfigurationError: ``SF102`` if the file cannot be read, ``SF101`` if it is not TOML or a field is not valid.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError("SF102", f"cannot read {path}: {error.strerror}", path=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError("SF101", f"{path} is not TOML: {error}", path=str(path)) from error
    try:
        return ServerConfig.model_validate(document, context={_BASE: path.parent.resolve()})
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, row['loc'])) or 'file'}: {row['msg']}" for row in error.errors()]
        raise ConfigurationError("SF101", f"{path}: {'; '.join(problems)}", path=str(path)) from None
