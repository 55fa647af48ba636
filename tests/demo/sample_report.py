"""A small report with everything in it that a report can hold."""

from __future__ import annotations

from typing import Any


def scores(base: float, local: float, consensus: float) -> dict[str, float]:
    """One cell of `exact_match`."""
    return {"base": base, "local": local, "consensus": consensus}


def sample_report() -> dict[str, Any]:
    """Two honest sites, one attacker, one round of each kind."""
    votes = {"known": scores(0.30, 0.60, 0.62), "missing": scores(0.40, 0.10, 0.50)}
    text = {"known": scores(0.0, 0.05, 0.06), "missing": scores(0.0, 0.01, 0.03)}
    honest = {"model": "smollm2-135m", "role": "honest", "epsilon_spent": "7.98", "epsilon_budget": "8.0"}
    attacker = {"model": "black box", "role": "malicious", "epsilon_spent": None, "epsilon_budget": None}
    return {
        "schema": 1,
        "mode": "direct",
        "seconds": {"train": 60.0, "answer": 5.0, "consensus": 1.0, "learn": 20.0, "total": 90.0},
        "sites": [
            honest | {"id": "st-mary", "kept": True, "exact_match": {"votes": votes, "text": text}},
            honest | {"id": "riverside", "kept": False, "exact_match": {"votes": votes, "text": text}},
            attacker | {"id": "eastfield", "kept": None, "exact_match": {}},
        ],
        "rounds": [
            {
                "id": "round-1",
                "kind": "votes",
                "prompts": 60,
                "agreed": 50,
                "contested": 8,
                "too_few": 2,
                "admitted": ["st-mary", "riverside", "eastfield"],
                "refused": [{"site": "westbrook", "code": "SF311"}],
                "attacker_label_agreed": 0,
            },
        ],
        "bytes": {"up": 30_000, "down": 50_000, "lora_exchange": 4_000_000},
        "audit": [{"log": "st-mary", "path": "x/log", "entries": 31, "root": "ab" * 32, "verified": True}],
        "reconciled": {"agree": True, "verdict": "3 logs agree in all 17 places where one names another"},
    }
