"""Mechanisms with a stated sensitivity, their accounting, and the durable budget ledger."""
