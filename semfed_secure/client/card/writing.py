"""Writing a privacy card down: the document, the page for people, and an audit entry that pins the document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.client.card.document import card_of
from semfed_secure.client.card.evidence import read_evidence
from semfed_secure.client.card.markdown import markdown_of
from semfed_secure.client.site import DATABASE_FILE, open_site
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.member_files import load_member_record
from semfed_secure.ids import hex_digest, sha256

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.client.card.document import Document
    from semfed_secure.client.config import SiteConfig
    from semfed_secure.clock import Clock, Randomness
    from semfed_secure.identity.member_files import MemberKeys


def encode_card(card: Document) -> bytes:
    """The bytes of a card's file, whose SHA-256 the log holds."""
    return (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode()


def write_card(
    config: SiteConfig, page: Path, *, clock: Clock, randomness: Randomness, keys: MemberKeys | None = None
) -> Document:
    """Write the card of a site as ``page`` (Markdown) and as JSON beside it, and the JSON's digest into its log.

    The entry comes first: a card that nobody entered does not exist as a file.

    Raises:
        ConfigurationError: SF105, the page is not called ``.md``; SF102, a file cannot be written; as `open_site`.
        IntegrityError: As `read_evidence`; then nothing is written. SF502, the log cannot be kept.
    """
    if page.suffix != ".md":
        raise ConfigurationError("SF105", f"a card is written as .md, and as .json beside it; not as {page.name!r}")
    key = (keys.record if keys is not None else load_member_record(config.identity.keys)).log_key
    card = card_of(read_evidence(config.site.state / DATABASE_FILE, key=key, site=config), clock.now())
    body = encode_card(card)
    site = open_site(config, clock=clock, randomness=randomness, keys=keys)
    try:
        site.audit.append(_created(site.member_id, card, body))
    finally:
        site.close()
    try:
        page.with_suffix(".json").write_bytes(body)
        page.write_text(markdown_of(card), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError("SF102", f"{page} cannot be written: {error.strerror}") from error
    return card


def _created(actor: str, card: Document, body: bytes) -> Event:
    log = card["log"]
    return Event(
        type=EventType.REPORT_CREATED,
        outcome="success",
        actor=actor,
        details={
            "kind": "privacy card",
            "digest": hex_digest(sha256(body)),
            "size": log["entries"],
            "root": log["root"],
        },
    )
