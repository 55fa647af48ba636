"""The two sizes of the demo."""

from __future__ import annotations

from semfed_secure.demo.plan import RoundPlan, Scale, Training

ROUNDS = (RoundPlan("round-1", "votes"), RoundPlan("round-2", "text"))

FULL = Scale(
    name="full",
    honest=5,
    families=("smollm2-135m", "gemma-3-270m"),
    rounds=ROUNDS,
    training=Training(steps=20, sample_rate=1.0, clip_norm=1.0, epsilon="8", delta="1e-6"),
    measured={"votes": 2200, "text": 100},
    round_seconds=900,
)

FAST = Scale(
    name="fast",
    honest=3,
    families=("smollm2-135m",),
    rounds=ROUNDS,
    training=Training(steps=12, sample_rate=1.0, clip_norm=1.0, epsilon="8", delta="1e-6"),
    measured={"votes": 200, "text": 20},
    round_seconds=300,
)
