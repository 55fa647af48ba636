"""Row modules: what they keep, what they refuse, and that a second writer cannot change the first one's row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError as ConstraintError

from semfed_secure.errors import IntegrityError
from semfed_secure.storage import (
    Database,
    Transaction,
    cosignature_rows,
    ledger_rows,
    log_rows,
    outbox_rows,
    pin_rows,
    progress_rows,
    round_rows,
)
from semfed_secure.storage.cosignature_rows import CosignatureRow
from semfed_secure.storage.ledger_rows import ChargeRow
from semfed_secure.storage.log_rows import CheckpointRow, EntryRow, HeadRow, NodeRow
from semfed_secure.storage.outbox_rows import OutboxRow
from semfed_secure.storage.progress_rows import ProgressRow
from semfed_secure.storage.round_rows import ContributionRow, RoundRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHARGE = ChargeRow(
    idempotency_key="round-1/bundle",
    population="patients-2026",
    unit="entity",
    relation="add_or_remove_one",
    purpose="release",
    mechanism="record_histogram",
    parameters='{"sigma":"4.0"}',
    rdp="[0.1,0.2]",
    epsilon="1.25",
    delta="0.000001",
    policy_digest="sha256:00",
    state="reserved",
    created_at_ms=1_700_000_000_000,
    period="2026",
)
ROUND = RoundRow("round-1", "collecting", b"manifest", b"prompts", 1_700_000_000_000)
ADMITTED = ContributionRow("round-1", b"\x01" * 32, "north", b"statement", b"payload", "admitted", None, b"receipt")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A new database on SQLite and on PostgreSQL."""
    with Database.open(database_url, kind="client") as opened:
        yield opened


def test_a_charge_comes_back_as_written(database: Database) -> None:
    """Decimals and JSON of a charge keep every digit."""
    with database.transaction() as tx:
        stored = ledger_rows.insert_charge(tx, CHARGE)
    with database.snapshot() as tx:
        assert stored is not None
        assert ledger_rows.charge_by_key(tx, "round-1/bundle") == stored == replace(CHARGE, id=stored.id)
        assert ledger_rows.list_charges(tx) == [stored]


def test_an_idempotency_key_charges_once(database: Database) -> None:
    """The second charge of one key adds nothing."""
    with database.transaction() as tx:
        ledger_rows.insert_charge(tx, CHARGE)
        assert ledger_rows.insert_charge(tx, replace(CHARGE, epsilon="9")) is None
        charges = ledger_rows.charges_of(tx, population="patients-2026", unit="entity", relation="add_or_remove_one")
        assert [charge.epsilon for charge in charges] == ["1.25"]


def test_ledgers_are_apart(database: Database) -> None:
    """Charges of another population, unit or relation are another ledger's."""
    with database.transaction() as tx:
        for number, change in enumerate(
            [{}, {"population": "b"}, {"unit": "organisation"}, {"relation": "replace_one"}]
        ):
            ledger_rows.insert_charge(tx, replace(CHARGE, idempotency_key=str(number), **change))
        charges = ledger_rows.charges_of(tx, population="patients-2026", unit="entity", relation="add_or_remove_one")
        assert [charge.idempotency_key for charge in charges] == ["0"]


def test_a_charge_is_committed_once_it_is_there(database: Database) -> None:
    """Committing is repeatable, and tells when there is nothing to commit."""
    with database.transaction() as tx:
        ledger_rows.insert_charge(tx, CHARGE)
        assert ledger_rows.mark_committed(tx, CHARGE.idempotency_key)
        assert ledger_rows.mark_committed(tx, CHARGE.idempotency_key)
        assert not ledger_rows.mark_committed(tx, "another")
        stored = ledger_rows.charge_by_key(tx, CHARGE.idempotency_key)
        assert stored is not None
        assert stored.state == "committed"


def test_outbox_states_only_go_forward(database: Database) -> None:
    """An answered message keeps its first receipt and is not marked as sent again."""
    with database.transaction() as tx:
        item = outbox_rows.insert_outbox(tx, OutboxRow("round-1", "contribution", b"d" * 32, b"sealed bytes"))
        assert item.id is not None
        assert outbox_rows.list_outbox(tx, unanswered=True) == [item]
        assert outbox_rows.mark_sent(tx, item.id)
        assert outbox_rows.mark_answered(tx, item.id, b"receipt")
        assert outbox_rows.mark_answered(tx, item.id, b"receipt")
        assert not outbox_rows.mark_answered(tx, item.id, b"another receipt")
        assert not outbox_rows.mark_sent(tx, item.id)
        assert outbox_rows.list_outbox(tx, unanswered=True) == []
        stored = outbox_rows.read_outbox(tx, "round-1", "contribution")
        assert stored == replace(item, state="answered", receipt=b"receipt")


def test_a_second_release_of_a_round_is_impossible(database: Database) -> None:
    """One round and kind has one set of finished bytes."""
    first = OutboxRow("round-1", "contribution", b"d" * 32, b"first")
    with database.transaction() as tx:
        outbox_rows.insert_outbox(tx, first)
    with pytest.raises(ConstraintError), database.transaction() as tx:
        outbox_rows.insert_outbox(tx, replace(first, body=b"second"))


def test_a_round_moves_only_from_the_state_named(database: Database) -> None:
    """A transition that another process took already does not happen twice."""
    with database.transaction() as tx:
        round_rows.insert_round(tx, ROUND)
        assert round_rows.move_round(tx, "round-1", before="collecting", after="closed")
        assert not round_rows.move_round(tx, "round-1", before="collecting", after="closed")
        assert round_rows.move_round(tx, "round-1", before="closed", after="published", consensus=b"c", report="{}")
        stored = round_rows.read_round(tx, "round-1")
        assert stored == replace(ROUND, state="published", consensus=b"c", report="{}")
        assert round_rows.list_rounds(tx) == round_rows.list_rounds(tx, state="published") == [stored]
        assert round_rows.list_rounds(tx, state="collecting") == []


def test_one_standing_contribution_per_member(database: Database) -> None:
    """An admitted contribution fills its member's slot, and so does a commitment; a rejected one before it does not."""
    rejected = replace(ADMITTED, statement_digest=b"\x02" * 32, outcome="rejected", code="SF314", payload=None)
    with database.transaction() as tx:
        round_rows.insert_round(tx, ROUND)
        round_rows.insert_contribution(tx, rejected)
        round_rows.insert_contribution(tx, ADMITTED)
        assert round_rows.standing_contribution(tx, "round-1", "north") == ADMITTED
        assert round_rows.read_contribution(tx, "round-1", rejected.statement_digest) == rejected
        assert round_rows.list_contributions(tx, "round-1") == [ADMITTED, rejected]
    second = replace(ADMITTED, statement_digest=b"\x03" * 32)
    for row in (second, replace(second, outcome="committed", payload=None)):
        with pytest.raises(ConstraintError), database.transaction() as tx:
            round_rows.insert_contribution(tx, row)


def test_a_commitment_is_settled_once(database: Database) -> None:
    """What became of it is not replaced: neither by a second opening, nor by a refusal that comes too late."""
    with database.transaction() as tx:
        round_rows.insert_round(tx, ROUND)
        round_rows.insert_contribution(tx, replace(ADMITTED, outcome="committed", payload=None, receipt=b"committed"))
        assert round_rows.members_with(tx, "round-1", "committed") == {"north"}
        assert round_rows.settle_contribution(tx, ADMITTED)
        assert not round_rows.settle_contribution(tx, replace(ADMITTED, outcome="rejected", code="SF316"))
        assert round_rows.standing_contribution(tx, "round-1", "north") == ADMITTED
        assert round_rows.members_with(tx, "round-1", "committed", "admitted") == {"north"}


def test_a_contribution_needs_its_round(database: Database) -> None:
    """Nothing is stored for a round that does not exist."""
    with pytest.raises(ConstraintError), database.transaction() as tx:
        round_rows.insert_contribution(tx, ADMITTED)


def test_a_pin_is_set_once(database: Database) -> None:
    """The first value stays; only who knows it can replace it."""
    with database.transaction() as tx:
        assert pin_rows.set_pin_once(tx, "policy", b"one") == b"one"
        assert pin_rows.set_pin_once(tx, "policy", b"two") == b"one"
        assert not pin_rows.replace_pin(tx, "policy", expected=b"two", value=b"three")
        assert not pin_rows.replace_pin(tx, "policy", expected=None, value=b"three")
        assert pin_rows.replace_pin(tx, "policy", expected=b"one", value=b"three")
        assert pin_rows.replace_pin(tx, "other", expected=None, value=b"new")
        assert (pin_rows.read_pin(tx, "policy"), pin_rows.read_pin(tx, "other")) == (b"three", b"new")


def test_progress_is_replaced_per_step(database: Database) -> None:
    """A step has one state; steps of other rounds are not touched."""
    first = ProgressRow("round-1", "train", "running", "{}", 1)
    other = ProgressRow("round-2", "train", "running", "{}", 2)
    done = ProgressRow("round-1", "train", "done", '{"loss":"0.5"}', 3)
    with database.transaction() as tx:
        for row in (first, other, done):
            progress_rows.write_progress(tx, row)
        assert progress_rows.read_progress(tx, "round-1", "train") == done
        assert progress_rows.read_progress(tx, "round-1", "release") is None
        assert progress_rows.list_progress(tx) == [other, done]
        assert progress_rows.list_progress(tx, "round-1") == [done]


def test_the_log_head_moves_only_from_where_it_stands(database: Database) -> None:
    """A writer that lost the race moves nothing."""
    with database.transaction() as tx:
        assert log_rows.read_head(tx) is None
        log_rows.insert_head(tx, HeadRow("key", 0, b"", ""))
        assert log_rows.advance_head(tx, old_size=0, size=1, frontier=b"f", checkpoint="c")
        assert not log_rows.advance_head(tx, old_size=0, size=2, frontier=b"g", checkpoint="d")
        assert log_rows.read_head(tx) == HeadRow("key", 1, b"f", "c")
    with pytest.raises(ConstraintError), database.transaction() as tx:
        log_rows.insert_head(tx, HeadRow("second", 0, b"", ""))


def test_what_stands_behind_the_head_is_damage(database: Database) -> None:
    """Entries, nodes and checkpoints are only ever added where nothing stands."""
    entry, node, checkpoint = EntryRow(0, b"h" * 32, b"{}"), NodeRow(1, 0, b"a" * 32), CheckpointRow(4, "note")
    for insert, row in (
        (log_rows.insert_entries, [entry]),
        (log_rows.insert_nodes, [node]),
        (log_rows.insert_checkpoint, checkpoint),
    ):
        with database.transaction() as tx:
            insert(tx, row)
        with pytest.raises(IntegrityError) as caught, database.transaction() as tx:
            insert(tx, row)
        assert caught.value.code == "SF501"


@pytest.mark.parametrize(
    ("damage", "read"),
    [
        ("UPDATE pin SET value = 'text'", lambda tx: pin_rows.read_pin(tx, "policy")),
        ("UPDATE pin SET value = 7", pin_rows.list_pins),
        ("UPDATE ledger_charge SET created_at_ms = 'soon'", ledger_rows.list_charges),
        ("UPDATE ledger_charge SET delta = x'30'", lambda tx: ledger_rows.charge_by_key(tx, CHARGE.idempotency_key)),
        ("UPDATE ledger_charge SET state = 'committec'", ledger_rows.list_charges),
    ],
)
def test_a_column_of_another_type_is_damage(tmp_path: Path, damage: str, read: Callable[[Transaction], object]) -> None:
    """SQLite keeps any value in any column; whoever reads a row gets the types that it declares, or SF531."""
    with Database.open(tmp_path / "site.db", kind="client") as opened:
        with opened.transaction() as tx:
            pin_rows.set_pin_once(tx, "policy", b"one")
            ledger_rows.insert_charge(tx, CHARGE)
            tx.connection.execute(text("PRAGMA ignore_check_constraints=ON"))
            tx.connection.execute(text(damage))
        with pytest.raises(IntegrityError) as caught, opened.snapshot() as tx:
            read(tx)
        assert caught.value.code == "SF531"


def test_log_rows_come_back_in_order(database: Database) -> None:
    """Entries, nodes and checkpoints are read by position, whatever the order they were written in."""
    entries = [EntryRow(position, bytes([position]) * 32, b"{}") for position in range(5)]
    nodes = [NodeRow(1, 0, b"a" * 32), NodeRow(1, 1, b"b" * 32), NodeRow(2, 0, b"c" * 32)]
    with database.transaction() as tx:
        log_rows.insert_entries(tx, entries[::-1])
        log_rows.insert_nodes(tx, nodes[::-1])
        log_rows.insert_nodes(tx, [])
        for size in (9, 4):
            log_rows.insert_checkpoint(tx, CheckpointRow(size, f"note {size}"))
    with database.snapshot() as tx:
        assert log_rows.read_entries(tx, 1, 3) == entries[1:3]
        assert list(log_rows.walk_entries(tx)) == entries
        assert list(log_rows.walk_level(tx, 1)) == nodes[:2]
        assert log_rows.count_nodes(tx) == 3
        assert log_rows.list_checkpoints(tx) == [CheckpointRow(4, "note 4"), CheckpointRow(9, "note 9")]
        assert log_rows.read_checkpoint(tx, 9) is not None
        assert log_rows.read_checkpoint(tx, 5) is None
        asked = [(0, 4), (1, 1), (2, 0), (3, 0)]
        assert log_rows.read_hashes(tx, asked) == {(0, 4): b"\x04" * 32, (1, 1): b"b" * 32, (2, 0): b"c" * 32}
        assert log_rows.read_hashes(tx, []) == {}


def test_cosignatures_are_the_newest_of_each_member_under_each_size(database: Database) -> None:
    """The same member again takes its own place; sizes come largest first, those of too few are left out."""
    with database.transaction() as tx:
        for size, name, line, at in ((4, "b", "old", 1), (4, "b", "new", 2), (4, "a", "x", 2), (9, "a", "y", 3)):
            cosignature_rows.put_cosignature(tx, CosignatureRow(size, name, line, at))
    with database.snapshot() as tx:
        assert cosignature_rows.read_cosignatures(tx, 4) == [
            CosignatureRow(4, "a", "x", 2),
            CosignatureRow(4, "b", "new", 2),
        ]
        assert cosignature_rows.cosigned_sizes(tx, at_least=1) == [9, 4]
        assert cosignature_rows.cosigned_sizes(tx, at_least=2) == [4]
    with database.transaction() as tx:
        cosignature_rows.drop_cosignatures(tx, taken_before_ms=3)
        assert cosignature_rows.cosigned_sizes(tx, at_least=1) == [9]
