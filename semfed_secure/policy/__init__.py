"""Typed site policies, and the decision whether one act is permitted."""
