"""A log that was touched does not verify, and the error says what was done, where, to a reader without our source."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from semfed_secure.audit import notes
from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.merkle import Frontier, leaf_hash
from semfed_secure.audit.verify import LogVerdict, verify_consistency, verify_log
from semfed_secure.clock import FixedClock, SystemClock
from semfed_secure.crypto.log_keys import LogSigningKey, LogVerificationKey
from semfed_secure.errors import ConfigurationError, IntegrityError, PeerError
from semfed_secure.storage import Database, log_guard, log_rows
from tests.audit.samples import SIZE, START, Site, sample

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.audit.events import Entry


from tests.audit.intruder import bodies_of, forge, rebuild, refusal, sql


def test_a_whole_log_verifies(full: Site) -> None:
    """The verdict says whose log it is, how long, and what was checked."""
    verdict = verify_log(full.path, key=full.vkey)
    frontier = Frontier()
    for body in bodies_of(full):
        frontier.add(leaf_hash(body))
    assert verdict == LogVerdict(
        origin="hospitals.example/north",
        size=SIZE,
        root=frontier.root().hex(),
        verification_key=full.vkey,
        key_was_given=True,
        checkpoints=2,
        cosigned_size=256,
        known_checkpoints=0,
        vouched_size=0,
        first_time="2026-03-01T08:00:00.000Z",
        last_time="2026-03-01T08:00:04.000Z",
        clock_steps=(),
        writers=("north/client",),
        pruned=0,
        holds=(),
    )


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257])
def test_logs_of_every_shape_verify(site: Site, size: int) -> None:
    """Empty logs, partial tiles and full tiles verify, by file, by state directory, and without a key."""
    if size:
        site.log.append_all([sample(number) for number in range(size)])
    assert verify_log(site.path, key=site.vkey).size == size
    verdict = verify_log(site.path.parent, key=None)
    assert (verdict.size, verdict.key_was_given) == (size, False)


def test_a_log_on_postgresql_verifies(postgresql_url: str, key: LogSigningKey) -> None:
    """A server's log in PostgreSQL is verified through its URL, and tampering is told as well."""
    with Database.open(postgresql_url, kind="server") as database:
        log = AuditLog(database, key=key, clock=FixedClock(START), writer="w")
        log.append_all([sample(number) for number in range(300)])
        assert verify_log(postgresql_url, key=key.public.encode()).size == 300
        with database.transaction() as tx:
            log_guard.lift(tx.connection)
            tx.connection.execute(text("UPDATE log_entry SET body = leaf_hash WHERE position = 17"))
        with pytest.raises(IntegrityError) as caught:
            verify_log(postgresql_url, key=key.public.encode())
    assert (caught.value.code, caught.value.fields["index"]) == ("SF501", 17)


def test_verifying_changes_nothing(full: Site) -> None:
    """Not a byte of the state directory changes."""
    full.database.close()
    before = {item.name: item.read_bytes() for item in full.path.parent.iterdir()}
    verify_log(full.path, key=full.vkey)
    assert {item.name: item.read_bytes() for item in full.path.parent.iterdir()} == before


def test_a_clock_that_stepped_back_is_reported(site: Site) -> None:
    """The log still verifies: its order is by number; the verdict names where the clock stepped back."""
    site.fill(3)
    site.clock.advance(-3600)
    site.fill(3)
    assert verify_log(site.path, key=site.vkey).clock_steps == (3,)


def test_every_entry_is_visited(full: Site) -> None:
    """Readers of the log get each checked entry once, in order."""
    seen: list[Entry] = []
    verify_log(full.path, key=full.vkey, visit=seen.append)
    assert [entry.seq for entry in seen] == list(range(SIZE))


@pytest.mark.parametrize(
    ("statement", "code", "index", "words"),
    [
        ("UPDATE log_entry SET body = body || ' ' WHERE position = 5", "SF501", 5, "entry 5 was changed"),
        (
            "UPDATE log_entry SET leaf_hash = zeroblob(32) WHERE position = 269",
            "SF513",
            269,
            "of entry 269 was changed",
        ),
        ("UPDATE log_node SET hash = zeroblob(32) WHERE level = 3 AND position = 2", "SF513", 16, "entries 16 to 23"),
        ("UPDATE log_node SET position = 999 WHERE level = 1 AND position = 7", "SF513", 14, "entries 14 to 15"),
        ("DELETE FROM log_node WHERE level = 8", "SF513", 0, "entries 0 to 255"),
        ("INSERT INTO log_node VALUES (20, 0, zeroblob(32))", "SF513", None, "entries that are not there"),
        ("INSERT INTO log_node VALUES (1, 999, zeroblob(32))", "SF513", None, "entries that are not there"),
        ("DELETE FROM log_entry WHERE position = 0", "SF508", 0, "entry 0 is missing"),
        ("DELETE FROM log_entry WHERE position = 100", "SF508", 100, "entry 100 is missing"),
        ("DELETE FROM log_entry WHERE position BETWEEN 7 AND 9", "SF508", 7, "entries 7 to 9 are missing"),
        ("DELETE FROM log_entry WHERE position > 260", "SF512", 261, "entries 261 to 269 are missing"),
        ("DELETE FROM log_entry", "SF512", 0, "entries 0 to 269 are missing"),
        (
            "INSERT INTO log_entry SELECT 270, leaf_hash, body FROM log_entry WHERE position = 9",
            "SF514",
            270,
            "added without a signature",
        ),
        (
            (
                "UPDATE log_entry SET (leaf_hash, body) = (SELECT leaf_hash, body FROM log_entry WHERE position = 8) "
                "WHERE position = 11"
            ),
            "SF510",
            11,
            "a copy of entry 8",
        ),
        ("UPDATE log_head SET frontier = zeroblob(length(frontier))", "SF513", None, "where the log goes on"),
        ("UPDATE log_head SET size = 271", "SF513", None, "where the log goes on"),
        ("UPDATE log_head SET checkpoint = replace(checkpoint, '270', '269')", "SF503", None, "newest checkpoint"),
        ("UPDATE log_head SET checkpoint = ''", "SF503", None, "newest checkpoint"),
        ("UPDATE log_head SET checkpoint = (SELECT note FROM log_checkpoint)", "SF514", 256, "added without"),
        ("UPDATE log_head SET verification_key = replace(verification_key, 'north', 'south')", "SF503", None, "key"),
        ("UPDATE log_checkpoint SET note = replace(note, '256', '255')", "SF503", None, "kept at 256 entries"),
        ("UPDATE log_checkpoint SET size = 200", "SF517", None, "kept at 200 entries was exchanged"),
        ("DELETE FROM log_checkpoint", "SF516", None, "checkpoints were removed"),
        ("INSERT INTO log_checkpoint SELECT 270, checkpoint FROM log_head", "SF503", None, "kept at 270 entries"),
        ("DELETE FROM log_head", "SF504", None, "no log"),
    ],
)
def test_each_way_of_tampering_has_its_sentence(
    full: Site, statement: str, code: str, index: int | None, words: str
) -> None:
    """Changed, dropped, swapped, repeated, added and cut parts are named with the first entry concerned."""
    sql(full, statement)
    error = refusal(full)
    assert (error.code, error.fields.get("index")) == (code, index)
    assert words in error.message
    assert error.exit_code == 12


def test_swapped_entries_are_named(full: Site) -> None:
    """Two entries that changed places, hashes and all, are out of their written order."""
    bodies = bodies_of(full)
    bodies[40], bodies[41] = bodies[41], bodies[40]
    rebuild(full, bodies)
    error = refusal(full)
    assert (error.code, error.fields["index"]) == ("SF509", 40)
    assert "wrong place: it was written as entry 41" in error.message


def test_a_rewritten_entry_under_a_rebuilt_tree_is_noticed(full: Site) -> None:
    """Who can recompute every hash but not sign is told from the range between two signatures."""
    bodies = bodies_of(full)
    bodies[260] = forge(bodies[260])
    rebuild(full, bodies)
    error = refusal(full)
    assert (error.code, error.fields["index"]) == ("SF501", 256)
    assert "entries 256 to 269 were changed: they are not the ones that were signed" in error.message


def test_foreign_content_under_a_right_hash_is_noticed(full: Site) -> None:
    """An entry that hashes well but is not one of ours is replaced content."""
    bodies = bodies_of(full)
    bodies[12] = b'{"hello":"world"}'
    rebuild(full, bodies)
    error = refusal(full)
    assert (error.code, error.fields["index"]) == ("SF501", 12)
    assert "not one that this software writes" in error.message


def test_an_older_copy_is_noticed_by_who_kept_a_newer_checkpoint(full: Site) -> None:
    """A restored backup verifies by itself, but not against a checkpoint that a peer has seen since."""
    full.database.close()
    shutil.copy(full.path, backup := full.path.with_suffix(".bak"))
    full.log.append_all([sample(1)] * 30)
    seen_by_peer = full.log.checkpoint()
    full.database.close()
    shutil.copy(backup, full.path)
    assert verify_log(full.path, key=full.vkey).size == SIZE
    error = refusal(full, known=(seen_by_peer,))
    assert (error.code, error.fields["index"]) == ("SF504", SIZE)
    assert "set back" in error.message


def test_a_fork_is_noticed_by_who_kept_the_other_history(full: Site) -> None:
    """Two histories of one size, both signed, are told as a fork, wherever they parted."""
    full.database.close()
    shutil.copy(full.path, backup := full.path.with_suffix(".bak"))
    full.log.append(sample(1))
    seen_by_peer = full.log.checkpoint()
    full.database.close()
    shutil.copy(backup, full.path)
    full.log.append(sample(2))
    same_size = refusal(full, known=(seen_by_peer,))
    full.log.append(sample(2))
    grown = refusal(full, known=(seen_by_peer,))
    assert (same_size.code, grown.code) == ("SF505", "SF505")
    assert grown.fields == {"size": SIZE + 1, "index": 256}
    assert "two different histories of its first 271 entries" in grown.message


def test_a_stolen_key_cannot_rewrite_what_others_have_seen(full: Site) -> None:
    """A consistent rewriting, signed again with the true key, verifies alone but not against a kept checkpoint."""
    kept = full.log.checkpoint()
    bodies = bodies_of(full)
    bodies[3] = forge(bodies[3])
    rebuild(full, bodies, signer=full.key)
    assert verify_log(full.path, key=full.vkey).size == SIZE
    assert refusal(full, known=(kept,)).code == "SF505"


@pytest.mark.parametrize("kind", ["round.opened", "commitments.closed", "consensus.published"])
def test_a_round_that_is_told_twice_is_refused(site: Site, kind: str) -> None:
    """Two lists or two results of one round in one well-signed log: SF506 at the second; other rounds are others."""

    def tell(round_id: str) -> None:
        site.log.append(Event(type=EventType(kind), outcome="success", actor="server", round_id=round_id))

    tell("round-1")
    tell("round-2")
    assert verify_log(site.path, key=site.vkey).size == 2
    tell("round-1")
    error = refusal(site)
    assert (error.code, error.fields["index"], error.exit_code) == ("SF506", 2, 12)
    assert f"second {kind} of round-1" in error.message


def test_two_kept_checkpoints_of_two_histories_are_a_fork(full: Site) -> None:
    """A log whose own checkpoints contradict its signed tree was forked."""
    other = notes.Checkpoint(full.key.name, 100, leaf_hash(b"another history"))
    note = notes.sign_checkpoint(other, full.key, cosigned_at=1)
    sql(full, f"INSERT INTO log_checkpoint VALUES (100, '{note}')")
    error = refusal(full)
    assert (error.code, error.fields["index"]) == ("SF505", 0)


def test_a_known_checkpoint_must_be_signed(full: Site) -> None:
    """Nobody can accuse a log with a checkpoint it never signed; witnesses' lines are no harm."""
    kept = full.log.checkpoint()
    forged = kept.replace(str(SIZE), str(SIZE + 1))
    assert refusal(full, known=(forged,)).code == "SF503"
    witnessed = kept + notes.NoteSignature("witness.example", b"abcd", b"x" * 72).line
    assert verify_log(full.path, key=full.vkey, known=[kept, witnessed]).known_checkpoints == 2


def test_another_key_is_refused(full: Site) -> None:
    """The key that the auditor holds decides, not the one that the log names."""
    full.log.checkpoint()
    for other in (
        LogSigningKey.generate(full.key.name).public,
        LogSigningKey(full.key.name, b"\x01" * 32, b"\x03" * 32).public,
        LogSigningKey("another.example/log", b"\x01" * 32, b"\x02" * 32).public,
    ):
        with pytest.raises(IntegrityError, match="another key") as caught:
            verify_log(full.path, key=other.encode())
        assert caught.value.code == "SF503"
    assert verify_log(full.path, key=full.vkey.split(",")[0]).size == SIZE


def test_a_log_signed_by_nobodys_key_is_refused(full: Site) -> None:
    """A forger who also exchanges the key in the log fails against the key from the member record."""
    forger = LogSigningKey.generate(full.key.name)
    rebuild(full, [forge(body) for body in bodies_of(full)], signer=forger)
    sql(full, f"UPDATE log_head SET verification_key = '{forger.public.encode()}'")
    assert verify_log(full.path, key=None).key_was_given is False
    assert refusal(full).code == "SF503"


def test_a_stripped_post_quantum_signature_is_noticed(full: Site) -> None:
    """A kept checkpoint carries both signatures; taking one away is told."""
    with full.database.snapshot() as tx:
        kept = log_rows.list_checkpoints(tx)[0]
    note = notes.parse_note(kept.note)
    stripped = notes.Note(note.text, note.signatures[:1]).encoded
    sql(full, f"UPDATE log_checkpoint SET note = '{stripped}'")
    assert refusal(full).code == "SF503"


def test_a_malformed_key_is_the_operators_mistake(full: Site) -> None:
    """A key that cannot be read says nothing about the log."""
    with pytest.raises(ConfigurationError) as caught:
        verify_log(full.path, key="nonsense")
    assert caught.value.code == "SF104"


def test_there_must_be_one_log(tmp_path: Path) -> None:
    """No log, or several databases in one place, is a wrong path and not a bad log."""
    with pytest.raises(ConfigurationError, match="found 0"):
        verify_log(tmp_path, key=None)
    for name in ("a.db", "b.db"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigurationError, match="found 2"):
        verify_log(tmp_path, key=None)


def test_verify_consistency_follows_a_growing_log(site: Site) -> None:
    """A newer checkpoint of the same history is accepted and returned."""
    site.fill(5)
    old = site.log.checkpoint()
    site.fill(8)
    new = site.log.checkpoint()
    proof = site.log.consistency_proof(5, 13)
    assert verify_consistency(old, new, proof, site.key.public).size == 13
    assert verify_consistency(new, new, (), site.key.public).size == 13


def test_verify_consistency_refuses_another_history(site: Site) -> None:
    """Rolled back, forked and unproven checkpoints are refused with the code for it."""
    site.fill(5)
    old = site.log.checkpoint()
    site.fill(8)
    new = site.log.checkpoint()
    proof = site.log.consistency_proof(5, 13)
    forked = notes.sign_checkpoint(notes.Checkpoint(site.key.name, 13, leaf_hash(b"x")), site.key, cosigned_at=None)
    for pair in ((new, old, proof), (old, new, ()), (old, forked, proof), (new, forked, ())):
        with pytest.raises(PeerError) as caught:
            verify_consistency(*pair, site.key.public)
        assert caught.value.code == "SF323"
    with pytest.raises(PeerError) as caught:
        verify_consistency(old, new.replace("13", "14"), proof, site.key.public)
    assert caught.value.code == "SF328"


def test_a_log_that_drops_its_post_quantum_key_is_refused(tmp_path: Path) -> None:
    """A log cannot talk an auditor out of the second signature by naming its Ed25519 key alone."""
    key = LogSigningKey.generate("a.example/log")
    with Database.open(tmp_path / "x.db", kind="client") as database:
        log = AuditLog(database, key=key, clock=SystemClock(), writer="w")
        log.append_all([sample(0)] * 300)
        lone = LogVerificationKey(key.name, key.public.ed25519).encode()
        with database.transaction() as tx:
            tx.connection.execute(text("UPDATE log_head SET verification_key = :key"), {"key": lone})
        with pytest.raises(IntegrityError):
            verify_log(tmp_path / "x.db", key=key.public.encode())
