"""The two sizes of the demo."""

from __future__ import annotations

from semfed_secure.demo.plan import RoundPlan, Scale, Training

ROUNDS = (RoundPlan("round-1", "votes"), RoundPlan("round-2", "text"))
SMOLLM, GEMMA = "smollm2-135m", "gemma-3-270m"

# Gold prompts take a liar's weight down to a fiftieth, and the others' to what they know. A lead of a tenth was chosen
# on the votes of five runs (docs/explanation/feasibility.md).
TERMS = {
    "votes": ("--min-support", "0.34", "--min-margin", "0.10"),
    "text": ("--min-support", "0.34", "--max-new-tokens", "16"),
}
SETTINGS = {
    SMOLLM: {"layers": 8, "private_rate": 0.03, "label_rate": 0.001, "label_epochs": 6},
    GEMMA: {"layers": 4, "private_rate": 0.015, "label_rate": 0.001, "label_epochs": 6},
}

FULL = Scale(
    name="full",
    honest=5,
    families=(SMOLLM, GEMMA),
    writers=(SMOLLM,),  # Gemma's 262 144 words make learning one written token cost what ten labels do
    rounds=ROUNDS,
    training=Training(steps=12, sample_rate=1.0, clip_norm=1.0, epsilon="8", delta="1e-6"),
    one_in={"votes": 1, "text": 40},
    asked={"votes": 1000, "text": 48},
    gold={"votes": 50},
    measured={"votes": 2000, "text": 60},
    settings=SETTINGS,
    terms=TERMS,
    round_seconds=3600,  # a round closes as soon as everybody in time has answered; this is for slow machines
)

FAST = Scale(
    name="fast",
    honest=3,
    families=(SMOLLM,),
    writers=(SMOLLM,),
    rounds=ROUNDS,
    training=Training(steps=8, sample_rate=1.0, clip_norm=1.0, epsilon="8", delta="1e-6"),
    one_in={"votes": 1, "text": 20},
    asked={"votes": 60, "text": 12},
    gold={"votes": 15},
    measured={"votes": 150, "text": 8},
    settings={SMOLLM: SETTINGS[SMOLLM] | {"layers": 4}},
    terms=TERMS,
    round_seconds=1800,
)
