"""Opening the private data set: asked for, written down, and only then read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.client.decisions import account, ask
from semfed_secure.client.facts import dataset_facts
from semfed_secure.client.records import bound_records
from semfed_secure.ids import RoundId, hex_digest
from semfed_secure.policy.facts import Action, Facts
from semfed_secure.privacy.parameters import valid_entities

if TYPE_CHECKING:
    from collections.abc import Iterable

    from semfed_secure.client.site import Site
    from semfed_secure.llm.model import Record
    from semfed_secure.policy.engine import Decision


def ask_to_open(site: Site, round_id: RoundId | None, *, dry_run: bool) -> Decision:
    """Whether the policy lets this site open its data set; the answer is an audit entry, no record is touched."""
    facts = Facts(action=Action.OPEN_DATASET, dataset=dataset_facts(site.config))
    return ask(site, facts, spent=account(site), round_id=round_id, dry_run=dry_run)


def open_records(site: Site, round_id: RoundId | None, records: Iterable[Record]) -> tuple[Record, ...]:
    """The first records of every entity, as many as the site file allows one.

    The entry ``dataset.opened`` is on disk before the first record is asked for.

    Raises:
        IntegrityError: SF502, the entry cannot be written: then nothing is read.
        ConfigurationError: SF104 or SF142, what is read are no records of at least two entities.
    """
    site.audit.append(opened_event(site, round_id))
    limit = site.config.data.max_records_per_entity
    kept = bound_records(records, max_records_per_entity=limit)
    valid_entities((record.entity_id for record in kept), max_records_per_entity=limit)
    return kept


def opened_event(site: Site, round_id: RoundId | None) -> Event:
    """The entry that is on disk before a record is read."""
    data = site.config.data
    return Event(
        type=EventType.DATASET_OPENED,
        outcome="success",
        actor=site.member_id,
        target=data.dataset,
        round_id=round_id,
        policy_id=site.policy.id,
        policy_digest=hex_digest(site.policy.digest),
        details={"dataset": data.dataset, "population": data.population, "classification": data.classification},
    )
