"""Mechanisms with a stated sensitivity, noise, accountant and durable budget ledger."""
