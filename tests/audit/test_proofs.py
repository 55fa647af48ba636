"""One entry in one file: written from any form of a log, checked without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from semfed_secure.audit import notes
from semfed_secure.audit.proofs import check_proof, make_proof
from semfed_secure.audit.sources import open_source
from semfed_secure.audit.vouched import Witnesses
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import ConfigurationError, IntegrityError, PeerError
from semfed_secure.storage.cosignature_rows import CosignatureRow, put_cosignature
from tests.audit.exports import export
from tests.audit.intruder import sql
from tests.audit.samples import Site, sample

if TYPE_CHECKING:
    from pathlib import Path

EAST, WEST = (LogSigningKey(f"hospitals.example/{name}", name.encode() * 8, b"\x07" * 32) for name in ("east", "west"))


def cosigned(site: Site, *witnesses: LogSigningKey) -> int:
    """Have these members cosign the newest checkpoint; its size."""
    tree = notes.parse_checkpoint(notes.parse_note(site.log.checkpoint()).text)
    with site.database.transaction() as tx:
        for key in witnesses:
            put_cosignature(tx, CosignatureRow(tree.size, key.name, notes.cosign(tree, key, at=1).line, 1))
    return tree.size


def proof_of(place: Path, index: int, site: Site) -> str:
    """The proof file of one entry."""
    with open_source(place) as source:
        return make_proof(source, index, site.key.public)


@pytest.mark.parametrize("index", [0, 1, 255, 256, 299])
def test_every_form_of_a_log_proves_its_entries(site: Site, tmp_path: Path, index: int) -> None:
    """The database and its export give the same file, and the key is all that its check needs."""
    site.log.append_all([sample(number) for number in range(300)])
    directory = export(site, tmp_path / "export")
    text = proof_of(directory, index, site)
    assert proof_of(site.path, index, site) == text
    proven = check_proof(text, site.key.public)
    assert (proven.entry.seq, proven.checkpoint.size) == (index, 300)
    assert proven.entry == site.log.entries(index, index + 1)[0]


def test_a_proof_carries_who_vouches_for_it(full: Site) -> None:
    """The checkpoint that most witnesses cosigned is taken, and one of them that is missing is told."""
    size = cosigned(full, EAST, WEST)
    full.fill(3)
    text = proof_of(full.path, 5, full)
    keys = [EAST.public.encode(), WEST.public.encode()]
    proven = check_proof(text, full.key.public, Witnesses.parse(keys))
    assert (proven.vouching, proven.checkpoint.size) == ((EAST.name, WEST.name), size)
    newest = proof_of(full.path, size + 1, full)
    with pytest.raises(PeerError) as caught:
        check_proof(newest, full.key.public, Witnesses.parse(keys, 1))
    assert caught.value.code == "SF330"


def test_there_is_no_proof_of_what_is_not_there(full: Site) -> None:
    """An entry that no signature covers."""
    with pytest.raises(ConfigurationError, match="no entry 270"):
        proof_of(full.path, 270, full)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log_entry SET body = leaf_hash WHERE position = 17",
        "DELETE FROM log_entry WHERE position = 17",
        "DELETE FROM log_entry WHERE position = 16",
        "UPDATE log_node SET hash = zeroblob(32) WHERE level = 1 AND position = 9",
        "DELETE FROM log_node WHERE level = 1 AND position = 9",
    ],
)
def test_a_damaged_log_proves_nothing_false(full: Site, statement: str) -> None:
    """What would not verify is not written."""
    sql(full, statement)
    with pytest.raises(IntegrityError) as caught:
        proof_of(full.path, 17, full)
    assert (caught.value.code, caught.value.fields["index"]) == ("SF501", 17)


def test_a_proof_of_another_log_or_without_its_entry_is_refused(full: Site) -> None:
    """The key decides whose log it is, and a bare proof says nothing that a reader could read."""
    text = proof_of(full.path, 17, full)
    for bad, key in ((text, EAST.public), (text.replace(text.split("\n")[1] + "\n", ""), full.key.public)):
        with pytest.raises(PeerError) as caught:
            check_proof(bad, key)
        assert caught.value.code == "SF328"


def test_witnesses_are_named_once_each() -> None:
    """A key that is none, one that is given twice, one without ML-DSA-44 and a quorum beyond them are mistakes."""
    east = EAST.public.encode()
    for keys, quorum, code in (
        (["nonsense"], None, "SF104"),
        ([east, east], None, "SF104"),
        ([east.split(",")[0]], None, "SF104"),
        ([east], 2, "SF105"),
        ([east], 0, "SF105"),
        ([], 1, "SF105"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            Witnesses.parse(keys, quorum)
        assert caught.value.code == code
