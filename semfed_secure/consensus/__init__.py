"""Robust agreement per prompt, on plain arrays: votes and texts, weights, and the round report."""

from semfed_secure.consensus.anchors import AnchorCounts, anchor_counts
from semfed_secure.consensus.candidates import candidates, in_order
from semfed_secure.consensus.outcome import ABSTAIN, Evidence, Outcomes, Status, tie_seed
from semfed_secure.consensus.report import RoundReport, evaluate, round_report
from semfed_secure.consensus.reputation import Conduct, Past, past_of
from semfed_secure.consensus.text import TextAnswers, Vocabulary, text_answers, text_consensus
from semfed_secure.consensus.votes import Votes, vote_consensus
from semfed_secure.consensus.weights import ClientWeights, client_weights

__all__ = [
    "ABSTAIN",
    "AnchorCounts",
    "ClientWeights",
    "Conduct",
    "Evidence",
    "Outcomes",
    "Past",
    "RoundReport",
    "Status",
    "TextAnswers",
    "Vocabulary",
    "Votes",
    "anchor_counts",
    "candidates",
    "client_weights",
    "evaluate",
    "in_order",
    "past_of",
    "round_report",
    "text_answers",
    "text_consensus",
    "tie_seed",
    "vote_consensus",
]
