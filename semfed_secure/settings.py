"""What the site file and the server file have in common: strict sections, exact decimals, paths beside the file."""

from __future__ import annotations

import tomllib
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo

from semfed_secure.errors import ConfigurationError
from semfed_secure.ids import is_name

_BASE = "base"
"""Key of the validation context: the directory that relative paths start from."""


class Section(BaseModel):
    """A frozen part of a file; an unknown key is an error, because it may be a misspelt protection."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def beside_the_file(path: Path, info: ValidationInfo) -> Path:
    """``path``, taken from the directory of the file that is being read."""
    return Path((info.context or {}).get(_BASE, "")) / path.expanduser()


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
    return str(path) if path.is_dir() else source


Name = Annotated[str, AfterValidator(_name)]
FilePath = Annotated[Path, AfterValidator(beside_the_file)]
"""Relative paths start from the directory of the file."""
DecimalText = Annotated[Decimal, BeforeValidator(_decimal)]


class IdentitySection(Section):
    """The member's private keys.

    Attributes:
        keys: The directory that ``semfed keys create`` made.
        passphrase_file: Holds their passphrase; without it the variable ``SEMFED_PASSPHRASE`` does.
    """

    keys: FilePath
    passphrase_file: FilePath | None = None


File = TypeVar("File", bound=Section)


def load_toml(kind: type[File], path: Path) -> File:
    """Read and validate the file at ``path`` as a ``kind``.

    Every problem is reported at once, each with its field; a file that loads has no unknown key.

    Raises:
        ConfigurationError: SF102 if the file cannot be read, SF101 if it is not TOML or a field is not valid.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError("SF102", f"cannot read {path}: {error.strerror}", path=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError("SF101", f"{path} is not TOML: {error}", path=str(path)) from error
    try:
        return kind.model_validate(document, context={_BASE: path.parent.resolve()})
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, row['loc'])) or 'file'}: {row['msg']}" for row in error.errors()]
        raise ConfigurationError("SF101", f"{path}: {'; '.join(problems)}", path=str(path)) from None
