"""HTTP in front of the coordinator: limits before parsing, problem details with codes, a clock that ticks.

Every answer carries bytes that clients verify by themselves; who speaks HTTP to us decides nothing, and neither
does a TLS certificate, which can only keep callers out.
"""

from __future__ import annotations

from semfed_secure.server.http.app import create_app
from semfed_secure.server.http.problems import COSE, PROBLEM

__all__ = ["COSE", "PROBLEM", "create_app"]
