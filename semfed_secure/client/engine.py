"""The site's model: loaded when it is first needed, pinned, answering with the active adapter."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.client.adapters import Adapter, active_adapter
from semfed_secure.client.config import RemoteModelSection
from semfed_secure.client.pins import MODEL, hold, require_pinned
from semfed_secure.errors import ConfigurationError
from semfed_secure.ids import Digest, parse_digest
from semfed_secure.llm.model import Model, TrainableModel
from semfed_secure.units import Mechanism

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from semfed_secure.client.site import Site

_TOKEN = re.compile(rb"[A-Za-z0-9._~+/=-]+")
"""What RFC 6750 lets a bearer token be."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A model that answers with ``adapter`` (None: untrained), and the digest of its weights (None: unknown)."""

    model: Model
    digest: Digest | None
    adapter: Adapter | None

    def trainable(self) -> TrainableModel:
        """The model, if it can be trained.

        Raises:
            ConfigurationError: SF132 if it only answers.
        """
        if not isinstance(self.model, TrainableModel):
            raise ConfigurationError("SF132", "a model that can be trained was expected, this one only answers")
        return self.model


class Engine:
    """Loads a site's model once and keeps its active adapter in step with the site's state.

    The weights are the pinned ones and the adapter's files are the ones that were trained, or nothing answers.
    """

    def __init__(self, site: Site, model: Model | None = None) -> None:
        """Use ``model``, or the one that the site file names."""
        self._site = site
        self._given = model
        self._model: Model | None = None
        self._digest: Digest | None = None
        self._in_use: Adapter | None = None
        self._settled = True

    def ready(self) -> Ready:
        """The model with the active adapter in use.

        Raises:
            ConfigurationError: SF131, the model cannot be loaded.
            IntegrityError: SF521, weights or adapter are not the pinned ones.
        """
        if self._model is None:
            self._model = self._load()
        with self._site.database.snapshot() as tx:
            adapter = active_adapter(tx)
        if not isinstance(self._model, TrainableModel):
            return Ready(self._model, self._digest, None)
        directory = None if adapter is None else self._site.adapters.verify(adapter)
        if adapter != self._in_use or not self._settled:
            self._model.use_adapter(directory)
            self._in_use, self._settled = adapter, True
        return Ready(self._model, self._digest, adapter)

    @contextmanager
    def trying(self) -> Iterator[None]:
        """A block in which the model may be trained or try another adapter.

        However it ends, the next `ready` puts the active adapter in use again.
        """
        self._settled = False
        try:
            yield
        finally:
            self._settled = False

    def _load(self) -> Model:
        model = self._given if self._given is not None else load_model(self._site)
        digest = getattr(model, "weights_digest", None)
        if isinstance(digest, bytes):
            self._digest = Digest(digest)
            with self._site.database.transaction() as tx:
                hold(tx, MODEL, self._digest, named=_named(self._site))
        return model


def _bearer_token(path: Path) -> str:
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError("SF102", f"cannot read {path}: {error.strerror}") from error
    if not _TOKEN.fullmatch(token):
        # The bytes are not shown: they may be most of a secret.
        raise ConfigurationError("SF101", f"{path} holds no bearer token: a word of letters, digits and -._~+/=")
    return token.decode("ascii")


def load_model(site: Site) -> Model:
    """The model that the site file names; the model stack is imported here, and only for local weights.

    Files that are not the pinned ones are not parsed.

    Raises:
        ConfigurationError: SF131, SF102 or SF103.
        IntegrityError: SF521.
    """
    config = site.config.model
    if isinstance(config, RemoteModelSection):
        from semfed_secure.llm.remote import RemoteModel  # noqa: PLC0415 - only the kind of model that is named

        return RemoteModel(
            config.source,
            model=config.name,
            scoring=config.scoring,
            api_key=None if config.api_key_file is None else _bearer_token(config.api_key_file),
            timeout_seconds=config.timeout_seconds,
        )
    settings = config.settings
    if settings.state_cache is not None and site.config.privacy.mechanism is Mechanism.RECORD_HISTOGRAM:
        # Under this mechanism the model also scores private records, and nothing of those may reach a shared directory.
        raise ConfigurationError("SF101", "model.settings.state_cache cannot be used under record_histogram")
    from semfed_secure.llm.local import LocalModel  # noqa: PLC0415 - the model stack, only for local weights

    def admit(digest: Digest) -> None:
        with site.database.snapshot() as tx:
            require_pinned(tx, MODEL, digest, named=_named(site))

    return LocalModel(config.source, settings, admit=admit)


def _named(site: Site) -> Digest | None:
    """The digest of the weights that the site file names on purpose."""
    config = site.config.model
    named = None if isinstance(config, RemoteModelSection) else config.digest
    return None if named is None else parse_digest(named)
