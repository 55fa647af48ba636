"""Content that was taken out by somebody else, and removals that do not fit the log: each is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.audit.events import Event, EventType, encode_entry, parse_entry
from semfed_secure.audit.fsck import State, examine
from semfed_secure.audit.merkle import leaf_hash
from semfed_secure.audit.removals import digest_of
from semfed_secure.audit.repair import repair_database
from semfed_secure.audit.retention import hold
from semfed_secure.audit.sources import open_source
from semfed_secure.audit.verify import verify_log
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import CATALOGUE, IntegrityError
from tests.audit.aged import age, owner, pruned
from tests.audit.corruptions import items
from tests.audit.exports import export, independently
from tests.audit.intruder import bodies_of, rebuild, refusal, sql

if TYPE_CHECKING:
    from pathlib import Path

    from tests.audit.samples import Site

EMPTY = "UPDATE log_entry SET body = x'' WHERE position = {}"


def found(site: Site, tmp_path: Path, code: str, index: int | None) -> str:
    """What all who look at the log say of it: the verifier of a database and of tiles, `fsck`, the auditor's script."""
    error = refusal(site)
    assert (error.code, error.fields.get("index")) == (code, index)
    assert CATALOGUE[error.code].remedy
    exported = export(site, tmp_path / "found")
    with pytest.raises(IntegrityError) as caught:
        verify_log(exported, key=site.vkey)
    assert caught.value.code == code
    with open_source(site.path) as source:
        states = {part.name: part.state for part in examine(source, site.key.public)}
    assert states["removed content"] is State.LOST
    return error.message


def script_refuses(site: Site, tmp_path: Path) -> bool:
    """Whether the auditor's script does too, of a database and of tiles."""
    places = (site.path, tmp_path / "found")
    return all(independently(place, "--key", site.vkey)[0] == 1 for place in places)


def test_content_that_somebody_emptied_is_told(site: Site, tmp_path: Path) -> None:
    """The tree still fits, and no entry says that it was removed."""
    age(site, 2)
    sql(site, EMPTY.format(3))
    assert "content of entry 3 is missing, and no entry says" in found(site, tmp_path, "SF523", 3)
    assert script_refuses(site, tmp_path)


def test_a_bundle_whose_entry_was_emptied_is_told(site: Site, tmp_path: Path) -> None:
    """In an export nobody but the exporter has touched."""
    age(site, 2)
    exported = export(site, tmp_path / "export")
    path = next((exported / "tile" / "entries").glob("*.p/*"))
    entries = items(path)
    path.write_bytes(b"".join([*entries[:4], b"\0\0", *entries[5:]]))
    with pytest.raises(IntegrityError, match="content of entry 4 is missing") as caught:
        verify_log(exported, key=site.vkey)
    assert caught.value.code == "SF523"
    assert independently(exported, "--key", site.vkey)[0] == 1


def test_content_that_was_emptied_beside_a_removal_is_told(site: Site, tmp_path: Path) -> None:
    """In the stretch of a removal, and behind it; the digest also tells when as many are missing, but others."""
    age(site, 4)
    kept = bodies_of(site)
    pruned(site)
    sql(site, EMPTY.format(17))
    assert "entry 17 is missing" in found(site, tmp_path, "SF523", 17)
    restore(site, 17, kept[17])
    sql(site, EMPTY.format(2))
    assert "entry 20 does not cover" in refusal(site).message
    restore(site, 3, kept[3])
    assert (refusal(site).code, refusal(site).fields["index"]) == ("SF523", 1)
    restore(site, 2, kept[2])
    error = refusal(site)
    assert (error.code, "the content of entry 3 is here" in error.message) == ("SF524", True)
    sql(site, EMPTY.format(3))
    assert verify_log(site.path, key=site.vkey).pruned == 6


def restore(site: Site, index: int, body: bytes) -> None:
    """Put content back."""
    sql(site, f"UPDATE log_entry SET body = x'{body.hex()}' WHERE position = {index}")


def test_content_that_should_be_gone_and_is_here_is_told(site: Site, tmp_path: Path) -> None:
    """Somebody kept it, and put it back."""
    age(site, 3)
    kept = bodies_of(site)
    pruned(site)
    restore(site, 6, kept[6])
    assert "the content of entry 6 is here" in found(site, tmp_path, "SF524", 15)
    assert script_refuses(site, tmp_path)


def test_a_hash_that_stands_for_removed_content_cannot_be_changed(site: Site) -> None:
    """It is no derived value any more: what it was made from is gone."""
    age(site, 3)
    pruned(site)
    for value in ("zeroblob(32)", "x''", "'text'", "x'00'"):
        sql(site, "CREATE TABLE kept AS SELECT leaf_hash FROM log_entry WHERE position = 6")
        sql(site, f"UPDATE log_entry SET leaf_hash = {value} WHERE position = 6")
        assert refusal(site).code == "SF501"
        with open_source(site.path) as source:
            assert State.LOST in {part.state for part in examine(source, site.key.public)}
        sql(site, "UPDATE log_entry SET leaf_hash = (SELECT leaf_hash FROM kept) WHERE position = 6", "DROP TABLE kept")
    assert verify_log(site.path, key=site.vkey).pruned == 6


def test_a_pruned_log_is_repaired_like_any_other(site: Site) -> None:
    """Hashes of the tree are made again from the hashes that were left."""
    age(site, 3)
    pruned(site)
    sql(site, "DELETE FROM log_node", "UPDATE log_entry SET leaf_hash = zeroblob(32) WHERE position = 0")
    repair_database(site.path, site.key, clock=site.clock)
    assert verify_log(site.path, key=site.vkey).pruned == 6


FACTS: dict[str, Any] = {"before": "2026-05-01", "keep_days": 30, "first": 0, "last": 9, "count": 1}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, None),
        ({"kinds": {"key.loaded": 1}}, "entries of type key.loaded are never removed"),
        ({"kinds": {"nonsense": 1}}, "entries of type nonsense are never removed"),
        ({"kinds": {"decision": 1, "dataset.opened": 1}}, "the content of entry 3 is here"),
        ({"kinds": {"report.created": 7}}, "the content of 1 is missing"),
        ({"kinds": {"report.created": -1, "training.started": 2}}, "the content of 1 is missing"),
        ({"count": 2}, "the content of 1 is missing"),
        ({"first": 1}, "do not follow those of the removal before"),
        ({"last": 99}, "do not follow those of the removal before"),
        ({"last": -1}, "do not follow those of the removal before"),
        ({"before": "2026-03-20"}, "not from before 2026-03-20"),
        ({"before": "soon"}, "does not say what was removed"),
        ({"before": "2026-W01-1"}, "does not say what was removed"),
        ({"keep_days": 9_000}, "had to be kept until"),
        ({"keep_days": -200, "before": "2026-12-31"}, "does not say what was removed"),
        ({"keep_days": 10**12}, "does not say what was removed"),
        ({"leaves": None}, "does not say what was removed"),
    ],
)
def test_a_removal_that_does_not_fit_the_log_is_told_even_if_the_log_signed_it(
    site: Site, tmp_path: Path, changed: dict[str, Any], why: str | None
) -> None:
    """Its own key may be stolen, or its owner may have pruned by hand: too much, too early, or what never goes."""
    age(site, 2)
    leaf = leaf_hash(bodies_of(site)[1])
    sql(site, EMPTY.format(1))
    details = {**FACTS, "kinds": {"report.created": 1}, "leaves": digest_of(leaf), **changed}
    details = {name: value for name, value in details.items() if value is not None}
    site.log.append(Event(type=EventType.LOG_PRUNED, outcome="success", actor="north", details=details))
    if why is None:
        assert verify_log(site.path, key=site.vkey).pruned == 1
        assert independently(site.path, "--key", site.vkey)[0] == 0
    else:
        assert why in found(site, tmp_path, "SF524", 10)


def test_a_removal_under_a_legal_hold_is_told(site: Site, tmp_path: Path) -> None:
    """Whoever wrote around the refusal did it in a log that says it was held."""
    age(site, 2)
    hold(owner(site), "inquiry", reference="1", since=None)
    leaf = leaf_hash(bodies_of(site)[1])
    sql(site, EMPTY.format(1))
    details = {**FACTS, "kinds": {"report.created": 1}, "leaves": digest_of(leaf)}
    site.log.append(Event(type=EventType.LOG_PRUNED, outcome="success", actor="north", details=details))
    assert "the legal hold inquiry covered them" in found(site, tmp_path, "SF524", 11)


def test_a_refused_removal_covers_nothing(site: Site, tmp_path: Path) -> None:
    """An entry that says `denied` is no removal."""
    age(site, 2)
    leaf = leaf_hash(bodies_of(site)[1])
    sql(site, EMPTY.format(1))
    details = {**FACTS, "kinds": {"report.created": 1}, "leaves": digest_of(leaf)}
    site.log.append(Event(type=EventType.LOG_PRUNED, outcome="denied", actor="north", details=details))
    assert "no entry says that it was removed" in found(site, tmp_path, "SF523", 1)
    assert script_refuses(site, tmp_path)


@pytest.mark.parametrize("signed", [False, True])
def test_a_removal_that_is_forged_into_a_copy_is_told(site: Site, signed: bool) -> None:
    """Without the log's key the tree does not fit; with another key the signature is not good."""
    age(site, 2)
    bodies = bodies_of(site)
    last = parse_entry(bodies[9])
    details = {**FACTS, "last": 8, "kinds": {"report.created": 1}, "leaves": digest_of(leaf_hash(bodies[1]))}
    event = Event(type=EventType.LOG_PRUNED, outcome="success", actor="north", details=details)
    forged = encode_entry(replace(last, event=event))
    signer = LogSigningKey.generate(site.key.name) if signed else None
    rebuild(site, [*bodies[:9], forged], signer=signer)
    sql(site, EMPTY.format(1), f"UPDATE log_entry SET leaf_hash = x'{leaf_hash(bodies[1]).hex()}' WHERE position = 1")
    assert refusal(site).code == ("SF503" if signed else "SF501")
    assert independently(site.path, "--key", site.vkey)[0] == 1
