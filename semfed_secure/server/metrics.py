"""The server's figures in the Prometheus text format; counts and codes, nothing about anybody's answers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from semfed_secure.server.service import Service


def render_metrics(service: Service, *, answers: Counter[int]) -> str:
    """All metrics of this process.

    Args:
        service: The server.
        answers: HTTP answers by status.
    """
    states = Counter(head.state for head in service.coordinator.rounds())
    problem = service.context.rosters.problem
    lines = [
        *_family("semfed_rounds", "gauge", "Rounds by state.", (("state", *row) for row in sorted(states.items()))),
        *_family(
            "semfed_refusals_total",
            "counter",
            "Refusals before the signatures, by code.",
            (("code", *row) for row in service.coordinator.refusals.total().items()),
        ),
        *_family(
            "semfed_http_answers_total",
            "counter",
            "HTTP answers by status.",
            (("status", str(status), count) for status, count in sorted(answers.items())),
        ),
        "# HELP semfed_log_entries Entries of the audit log.",
        "# TYPE semfed_log_entries gauge",
        f"semfed_log_entries {service.context.audit.size()}",
        "# HELP semfed_roster_refused Whether the present roster file was refused.",
        "# TYPE semfed_roster_refused gauge",
        f"semfed_roster_refused {int(problem is not None)}",
    ]
    return "\n".join(lines) + "\n"


def _family(name: str, kind: str, text: str, rows: Iterable[tuple[str, str, int]]) -> list[str]:
    return [
        f"# HELP {name} {text}",
        f"# TYPE {name} {kind}",
        *(f'{name}{{{label}="{value}"}} {count}' for label, value, count in rows),
    ]
