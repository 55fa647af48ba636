"""The database of a site or server: one transaction for charge, audit entry and outbox.

The only room that imports SQLAlchemy and Alembic. The other rooms call plain functions of the row modules on a
`Transaction` and see frozen dataclasses.
"""

from semfed_secure.storage.database import Database, DatabaseKind, Transaction

__all__ = ["Database", "DatabaseKind", "Transaction"]
