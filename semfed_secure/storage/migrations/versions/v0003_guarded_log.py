"""Triggers that let the tables of the log only grow."""

from __future__ import annotations

from alembic import op

from semfed_secure.storage import log_guard

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create them."""
    log_guard.put(op.get_bind())
