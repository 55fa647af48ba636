"""Robust agreement per prompt, on plain arrays."""
