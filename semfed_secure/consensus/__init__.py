"""Robust agreement per prompt, on plain arrays: votes and texts, weights, and the round report."""

from semfed_secure.consensus.outcome import ABSTAIN, Evidence, Outcomes, Status
from semfed_secure.consensus.report import RoundReport, evaluate, round_report
from semfed_secure.consensus.text import TextAnswers, Vocabulary, text_answers, text_consensus
from semfed_secure.consensus.votes import Votes, vote_consensus
from semfed_secure.consensus.weights import ClientWeights, client_weights

__all__ = [
    "ABSTAIN",
    "ClientWeights",
    "Evidence",
    "Outcomes",
    "RoundReport",
    "Status",
    "TextAnswers",
    "Vocabulary",
    "Votes",
    "client_weights",
    "evaluate",
    "round_report",
    "text_answers",
    "text_consensus",
    "vote_consensus",
]
