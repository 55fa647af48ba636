"""Load a policy with everything it extends, each step only tighter than the one above.

The chain is pack, organisation, site or data set; a federation's policy is one more document to extend. Limits meet
field by field. Grants stand only in the document that is loaded, and only below the ceiling: both are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semfed_secure.errors import ConfigurationError
from semfed_secure.policy.document import Effective, Grants, Limits, PolicyDocument
from semfed_secure.policy.effective import EffectivePolicy, Source, assemble, document_digest
from semfed_secure.policy.grants import beyond_ceiling
from semfed_secure.policy.loading import parse_document
from semfed_secure.policy.packs import PREFIX, pack_path
from semfed_secure.policy.strict_yaml import MAX_BYTES
from semfed_secure.policy.tightening import loosened, meet, plain, walk, without

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CHAIN = 8
"""Documents above one another; deeper chains are a cycle or cannot be reviewed."""


@dataclass(frozen=True, slots=True)
class _Ceiling:
    effective: Effective
    limits: Limits
    sources: tuple[Source, ...]


def load_policy(path: Path) -> EffectivePolicy:
    """Load the policy at ``path`` and everything it extends.

    The result is at least as tight as every document of the chain; a document that asks for more than the ones above
    it allow is refused, and the field is named.

    Args:
        path: A policy file, YAML or TOML; what it extends is a shipped pack (``pack:healthcare/hipaa``) or a file
            beside it.

    Raises:
        ConfigurationError: SF102 where a file cannot be read, SF111 where one is not valid, SF112 where one loosens.
    """
    document = _read(path)
    return _compose(document, _above(document, path, (path.resolve(),)), path.name)


def mutants(path: Path) -> Iterator[tuple[str, EffectivePolicy]]:
    """The policy at ``path`` with each limit that it sets itself taken away in turn: the limit, and what is left.

    Raises:
        ConfigurationError: as `load_policy`.
    """
    document = _read(path)
    above = _above(document, path, (path.resolve(),))
    for section in ("effective", "limits"):
        for field, *_ in walk(getattr(document, section), section):
            # Through compose again, so that what the ceiling says about the same field still stands.
            yield field, _compose(without(document, field), above, path.name)


def load_named(name: str) -> EffectivePolicy:
    """Load a shipped pack by its reference (``pack:healthcare/hipaa``), or the policy file at a path.

    Raises:
        ConfigurationError: SF111 where there is no such pack; as `load_policy`.
    """
    return load_policy(pack_path(name) if name.startswith(PREFIX) else Path(name))


def _read(path: Path) -> PolicyDocument:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        message = f"policy {path} cannot be read: {error.strerror}"
        raise ConfigurationError("SF102", message, file=str(path)) from error
    return parse_document(data, name=path.name)


def _compose(document: PolicyDocument, above: _Ceiling, name: str) -> EffectivePolicy:
    ceiling = _tightened(document, above, name)
    grants = document.grants or Grants()
    for field, message in beyond_ceiling(grants, ceiling.limits):
        raise _loosens(name, f"grants.{field}", message)
    return assemble(document, effective=ceiling.effective, limits=ceiling.limits, sources=ceiling.sources)


def _above(document: PolicyDocument, path: Path, seen: tuple[Path, ...]) -> _Ceiling:
    """The meet of everything that ``document`` extends."""
    met = _Ceiling(Effective(), Limits(), ())
    for reference in document.extends:
        one = _parent(reference, path, seen)
        fresh = tuple(source for source in one.sources if source not in met.sources)
        met = _Ceiling(meet(met.effective, one.effective), meet(met.limits, one.limits), met.sources + fresh)
    return met


def _tightened(document: PolicyDocument, above: _Ceiling, name: str) -> _Ceiling:
    """What is above, met with the document's own limits; refuses a document that loosens."""
    for section in ("effective", "limits"):
        for field, allowed, asked in loosened(getattr(above, section), getattr(document, section), section):
            raise _loosens(name, field, f"{_shown(asked)} is looser than {_shown(allowed)} above it")
    source = Source(document.id, document.version, document_digest(document))
    return _Ceiling(
        effective=meet(above.effective, document.effective),
        limits=meet(above.limits, document.limits),
        sources=(*above.sources, source),
    )


def _parent(reference: str, path: Path, seen: tuple[Path, ...]) -> _Ceiling:
    target = pack_path(reference) if reference.startswith(PREFIX) else path.parent / reference
    if target.resolve() in seen or len(seen) >= MAX_CHAIN:
        raise ConfigurationError("SF111", f"{path.name}: extends {reference} in a circle or too deep", field="extends")
    parent = _read(target)
    if parent.grants is not None:
        message = f"{path.name}: extends {reference}, which has grants; grants stand only in the policy that is loaded"
        raise ConfigurationError("SF111", message, field="grants")
    return _tightened(parent, _above(parent, target, (*seen, target.resolve())), target.name)


def _loosens(name: str, field: str, message: str) -> ConfigurationError:
    return ConfigurationError("SF112", f"{name}: {field}: {message}", field=field, file=name)


def _shown(value: Any) -> str:
    shown = plain(value)
    return ", ".join(map(str, shown)) if isinstance(shown, list) else str(shown)
