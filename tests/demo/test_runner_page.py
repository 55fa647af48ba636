"""The runner's look at the server's public page."""

from __future__ import annotations

import httpx

from semfed_secure.demo.plan import RoundPlan
from semfed_secure.demo.runner import _page, free_ports


def test_a_server_that_is_gone_has_no_page() -> None:
    """The loop goes on to see which process has ended, and names it; it does not end in the transport's own error."""
    (port,) = free_ports(1)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as server:
        assert _page(server, RoundPlan("round-1", "votes")) == {}
