"""Durable rows: the only importer of SQLAlchemy."""
