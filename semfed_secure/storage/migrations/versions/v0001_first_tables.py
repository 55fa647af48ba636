"""First tables: log, ledger, outbox, rounds, pins, progress."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_INTEGER64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table."""
    _database_kind()
    _ledger()
    _log()
    _outbox_pins_progress()
    _rounds()


def _database_kind() -> None:
    op.create_table(
        "database_kind",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('client', 'server', 'root')", name="kind_is_known"),
        sa.PrimaryKeyConstraint("kind"),
    )


def _ledger() -> None:
    op.create_table(
        "ledger_charge",
        sa.Column("id", _INTEGER64, autoincrement=True, nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("population", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("relation", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("mechanism", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("rdp", sa.Text(), nullable=False),
        sa.Column("epsilon", sa.Text(), nullable=False),
        sa.Column("delta", sa.Text(), nullable=False),
        sa.Column("policy_digest", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at_ms", _INTEGER64, autoincrement=False, nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('reserved', 'committed')", name="state_is_known"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("idempotency_key", name="one_charge_per_key"),
    )
    op.create_index("ledger_charge_by_population", "ledger_charge", ["population", "unit", "relation"], unique=False)


def _log() -> None:
    op.create_table(
        "log_checkpoint",
        sa.Column("size", _INTEGER64, autoincrement=False, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("size"),
    )
    op.create_table(
        "log_entry",
        sa.Column("position", _INTEGER64, autoincrement=False, nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position"),
    )
    op.create_table(
        "log_head",
        sa.Column("id", _INTEGER64, autoincrement=False, nullable=False),
        sa.Column("verification_key", sa.Text(), nullable=False),
        sa.Column("size", _INTEGER64, autoincrement=False, nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("checkpoint", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name="only_one_head"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "log_node",
        sa.Column("level", _INTEGER64, autoincrement=False, nullable=False),
        sa.Column("position", _INTEGER64, autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "position"),
        sqlite_with_rowid=False,
    )


def _outbox_pins_progress() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", _INTEGER64, autoincrement=True, nullable=False),
        sa.Column("round_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("statement_digest", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("receipt", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'sent', 'answered')", name="state_is_known"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("round_id", "kind", name="one_outbox_item_per_round_and_kind"),
    )
    op.create_table(
        "pin",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "progress",
        sa.Column("round_id", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("updated_at_ms", _INTEGER64, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("round_id", "step"),
    )


def _rounds() -> None:
    op.create_table(
        "round",
        sa.Column("round_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("prompt_set", sa.LargeBinary(), nullable=False),
        sa.Column("closes_at_ms", _INTEGER64, autoincrement=False, nullable=False),
        sa.Column("commitments", sa.LargeBinary(), nullable=True),
        sa.Column("consensus", sa.LargeBinary(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("report", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("round_id"),
    )
    op.create_table(
        "contribution",
        sa.Column("round_id", sa.Text(), nullable=False),
        sa.Column("statement_digest", sa.LargeBinary(), nullable=False),
        sa.Column("member_id", sa.Text(), nullable=False),
        sa.Column("statement", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("receipt", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("outcome IN ('committed', 'admitted', 'rejected')", name="outcome_is_known"),
        sa.ForeignKeyConstraint(["round_id"], ["round.round_id"], name="contribution_of_a_round"),
        sa.PrimaryKeyConstraint("round_id", "statement_digest"),
    )
    op.create_index(
        "one_standing_contribution_per_member",
        "contribution",
        ["round_id", "member_id"],
        unique=True,
        sqlite_where=sa.text("outcome <> 'rejected'"),
        postgresql_where=sa.text("outcome <> 'rejected'"),
    )
