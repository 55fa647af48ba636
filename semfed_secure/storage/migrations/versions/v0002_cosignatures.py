"""Cosignatures of witnesses under checkpoints of the log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_INTEGER64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "log_cosignature",
        sa.Column("size", _INTEGER64, autoincrement=False, nullable=False),
        sa.Column("member_id", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("taken_at_ms", _INTEGER64, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("size", "member_id"),
    )
