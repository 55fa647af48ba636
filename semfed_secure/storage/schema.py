"""The tables, one schema for clients and servers.

Migrations are the only thing that creates or alters them; a test compares the migrated database with this metadata.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

# SQLite makes only INTEGER an alias of its row id (no second index); its integers are 64 bits wide anyway.
_Integer64 = BigInteger().with_variant(Integer, "sqlite")


def _blob(name: str, *, nullable: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=nullable)


def _text(name: str, *, nullable: bool = False, key: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable, primary_key=key)


def _number(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, _Integer64, nullable=False, primary_key=key, autoincrement=False)


def _one_of(name: str, *values: str) -> CheckConstraint:
    return CheckConstraint(f"{name} IN ({', '.join(repr(value) for value in values)})", name=f"{name}_is_known")


database_kind = Table("database_kind", metadata, _text("kind", key=True), _one_of("kind", "client", "server", "root"))

# -- the transparency log ---------------------------------------------------------------------------------
# One row: the log's own key, its size, the roots of its complete subtrees and the newest signed checkpoint.
log_head = Table(
    "log_head",
    metadata,
    _number("id", key=True),
    _text("verification_key"),
    _number("size"),
    _blob("frontier"),
    _text("checkpoint"),
    CheckConstraint("id = 1", name="only_one_head"),
)
log_entry = Table("log_entry", metadata, _number("position", key=True), _blob("leaf_hash"), _blob("body"))
# Hashes of complete subtrees of two leaves and more; level 0 is `log_entry.leaf_hash`.
log_node = Table(
    "log_node",
    metadata,
    _number("level", key=True),
    _number("position", key=True),
    _blob("hash"),
    sqlite_with_rowid=False,
)
# Checkpoints worth keeping: those with a post-quantum cosignature.
log_checkpoint = Table("log_checkpoint", metadata, _number("size", key=True), _text("note"))

# What witnesses said of kept checkpoints of a server's log; older ones are dropped.
log_cosignature = Table(
    "log_cosignature",
    metadata,
    _number("size", key=True),
    _text("member_id", key=True),
    _text("line"),
    _number("taken_at_ms"),
)

# -- a client's privacy budget ----------------------------------------------------------------------------
ledger_charge = Table(
    "ledger_charge",
    metadata,
    Column("id", _Integer64, primary_key=True, autoincrement=True),
    _text("idempotency_key"),
    _text("population"),
    _text("unit"),
    _text("relation"),
    _text("purpose"),
    _text("mechanism"),
    _text("parameters"),
    _text("rdp"),
    _text("epsilon"),
    _text("delta"),
    _text("policy_digest"),
    _text("state"),
    _number("created_at_ms"),
    _text("period"),
    UniqueConstraint("idempotency_key", name="one_charge_per_key"),
    _one_of("state", "reserved", "committed"),
    Index("ledger_charge_by_population", "population", "unit", "relation"),
)

# -- finished bytes that wait to be sent ------------------------------------------------------------------
outbox = Table(
    "outbox",
    metadata,
    Column("id", _Integer64, primary_key=True, autoincrement=True),
    _text("round_id"),
    _text("kind"),
    _blob("statement_digest"),
    _blob("body"),
    _text("state"),
    _blob("receipt", nullable=True),
    UniqueConstraint("round_id", "kind", name="one_outbox_item_per_round_and_kind"),
    _one_of("state", "pending", "sent", "answered"),
)

# -- a server's rounds ------------------------------------------------------------------------------------
round_ = Table(
    "round",
    metadata,
    _text("round_id", key=True),
    _text("state"),
    _blob("manifest"),
    _blob("prompt_set"),
    _number("closes_at_ms"),
    _blob("commitments", nullable=True),
    _blob("consensus", nullable=True),
    _text("reason", nullable=True),
    _text("report", nullable=True),
)
contribution = Table(
    "contribution",
    metadata,
    Column("round_id", Text, ForeignKey("round.round_id", name="contribution_of_a_round"), primary_key=True),
    Column("statement_digest", LargeBinary, primary_key=True),
    _text("member_id"),
    _blob("statement"),
    _blob("payload", nullable=True),
    _text("outcome"),
    _text("code", nullable=True),
    _blob("receipt", nullable=True),
    _one_of("outcome", "committed", "admitted", "rejected"),
    # A rejected contribution does not burn its member's slot; one that stands, committed to or admitted, fills it.
    Index(
        "one_standing_contribution_per_member",
        "round_id",
        "member_id",
        unique=True,
        sqlite_where=text("outcome <> 'rejected'"),
        postgresql_where=text("outcome <> 'rejected'"),
    ),
)

# Whom a commitment in the log means: what may be erased while the log stays.
person = Table("person", metadata, _text("commitment", key=True), _blob("salt"), _text("name"))

# -- what must not change unnoticed, and how far a client is ----------------------------------------------
pin = Table("pin", metadata, _text("name", key=True), _blob("value"))
progress = Table(
    "progress",
    metadata,
    _text("round_id", key=True),
    _text("step", key=True),
    _text("state"),
    _text("data"),
    _number("updated_at_ms"),
)
