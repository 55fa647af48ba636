"""What the site file and the server file have in common: strict sections, exact decimals, paths beside the file."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self, TypeVar

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

from semfed_secure.crypto.external import SignerAddress, check_uri
from semfed_secure.crypto.key_files import read_passphrase
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.member_files import load_member_keys
from semfed_secure.ids import is_name
from semfed_secure.plain_toml import MAX_TOML_BYTES, parse_toml
from semfed_secure.privacy.parameters import valid_delta, valid_epsilon

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from semfed_secure.identity.member_files import MemberKeys

_BASE = "base"
"""Key of the validation context: the directory that relative paths start from."""


class Section(BaseModel):
    """A frozen part of a file; an unknown key is an error, because it may be a misspelt protection.

    Nothing is taken for what it is not: neither "1000" nor true for a number, nor 1 for true.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def beside_the_file(path: Path, info: ValidationInfo) -> Path:
    """``path``, taken from the directory of the file that is being read."""
    if "\0" in str(path):
        raise ValueError("a path holds no NUL character")
    try:
        return Path((info.context or {}).get(_BASE, "")) / path.expanduser()
    except RuntimeError:
        raise ValueError("there is no such home directory") from None


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError("must be 1-63 of a-z 0-9 . _ -")
    return text


def _decimal(value: object) -> Decimal:
    # A TOML float has been rounded before anyone could check it.
    if not isinstance(value, str | Decimal):
        raise ValueError('write it as a decimal in quotes, such as "8.0" or "1e-6"')  # noqa: TRY004 (pydantic's protocol)
    try:
        return Decimal(value)
    except InvalidOperation:
        raise ValueError('write it as a decimal in quotes, such as "8.0" or "1e-6"') from None


def model_source(source: str, info: ValidationInfo) -> str:
    """The directory ``source`` beside the file or anywhere; else a hub name, which looks like a relative path."""
    path = beside_the_file(Path(source), info)
    try:
        return str(path) if path.is_dir() else source
    except OSError:  # no directory has such a name, or none that we may look at
        return source


def _signer(uri: str) -> str:
    try:
        return check_uri(uri)
    except ConfigurationError as error:
        raise ValueError(error.message) from None


def _cost(valid: Callable[[Decimal], Decimal]) -> AfterValidator:
    """The check of a privacy parameter, whose refusal becomes a problem of its field."""

    def check(value: Decimal) -> Decimal:
        try:
            return valid(value)
        except ConfigurationError as error:
            raise ValueError(error.message) from None

    return AfterValidator(check)


T = TypeVar("T")
Written = Annotated[T, Field(strict=False)]
"""What TOML has no type for, and writes as text or as a list: a path, a word of a list of words, a tuple."""
Name = Annotated[str, AfterValidator(_name)]
FilePath = Annotated[Written[Path], AfterValidator(beside_the_file)]
"""Relative paths start from the directory of the file."""
DecimalText = Annotated[Decimal, BeforeValidator(_decimal)]
Epsilon = Annotated[DecimalText, _cost(valid_epsilon)]
Delta = Annotated[DecimalText, _cost(valid_delta)]


class IdentitySection(Section):
    """The member's private keys.

    Attributes:
        keys: The directory that ``semfed keys create`` made.
        passphrase_file: Holds their passphrase; without it the variable ``SEMFED_PASSPHRASE`` does.
        signer: Where the classical half of the signing key lies if no key file holds it, such as
            ``hsm:1?label=north-clinic``, as it was given to ``semfed keys create``.
        signer_pin_file: Holds the PIN of that HSM; only its owner may read it.
    """

    keys: FilePath
    passphrase_file: FilePath | None = None
    signer: Annotated[str, AfterValidator(_signer)] | None = None
    signer_pin_file: FilePath | None = None

    @model_validator(mode="after")
    def _pin_of_a_signer(self) -> Self:
        if self.signer_pin_file is not None and self.signer is None:
            raise ValueError("`signer_pin_file` is the PIN of a `signer`, which is missing")
        return self

    def load(self, environ: Mapping[str, str]) -> MemberKeys:
        """The keys; errors as `semfed_secure.identity.member_files.load_member_keys`."""
        outside = None if self.signer is None else SignerAddress(self.signer, self.signer_pin_file).open
        return load_member_keys(self.keys, read_passphrase(self.passphrase_file, environ), outside=outside)


File = TypeVar("File", bound=Section)


def load_toml(kind: type[File], path: Path) -> File:
    """Read and validate the file at ``path`` as a ``kind``.

    Every problem is reported at once, each with its field; a file that loads has no unknown key.

    Raises:
        ConfigurationError: SF102 if the file cannot be read, SF101 if it is not TOML or a field is not valid.
    """
    try:
        with path.open("rb") as file:
            document = parse_toml(file.read(MAX_TOML_BYTES + 1).decode("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError("SF102", f"cannot read {path}: {error.strerror}", path=str(path)) from error
    except RecursionError:
        raise ConfigurationError("SF101", f"{path} is nested too deeply", path=str(path)) from None
    except ValueError as error:  # not UTF-8, not TOML, too large, or a number of too many digits
        raise ConfigurationError("SF101", f"{path} is not TOML: {error}", path=str(path)) from error
    try:
        return kind.model_validate(document, context={_BASE: path.parent.resolve()})
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, row['loc'])) or 'file'}: {row['msg']}" for row in error.errors()]
        raise ConfigurationError("SF101", f"{path}: {'; '.join(problems)}", path=str(path)) from None
