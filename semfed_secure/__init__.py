"""Privacy-hardened semantic consensus for federated fine-tuning of language models.

Public names are imported when they are first used, so that ``import semfed_secure`` costs next to nothing and a
command that needs one part never waits for the others.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semfed_secure.client.config import SiteConfig, load_site_config
    from semfed_secure.client.decisions import DecisionPreview
    from semfed_secure.client.learning import LearnOutcome
    from semfed_secure.client.records import LabelledPrompt, read_labelled, read_records
    from semfed_secure.client.round import VerifiedConsensus
    from semfed_secure.client.session import Client, Round
    from semfed_secure.client.training import TrainOutcome
    from semfed_secure.client.transport import HttpTransport, Transport
    from semfed_secure.errors import (
        ApprovalNeeded,
        BudgetExhausted,
        ConfigurationError,
        ConsensusError,
        IntegrityError,
        PeerError,
        PolicyDenied,
        RefusedError,
        SemfedError,
    )
    from semfed_secure.llm.model import Model, Record, TrainableModel, TrainingPlan
    from semfed_secure.llm.remote import RemoteModel
    from semfed_secure.units import Mechanism, OutputKind
    from semfed_secure.wire.messages import Receipt

__version__ = "0.1.0"

_HOMES = {
    "client.config": ("SiteConfig", "load_site_config"),
    "client.learning": ("LearnOutcome",),
    "llm.model": ("Model", "Record", "TrainableModel", "TrainingPlan"),
    "client.records": ("LabelledPrompt", "read_labelled", "read_records"),
    "client.decisions": ("DecisionPreview",),
    "client.round": ("VerifiedConsensus",),
    "client.session": ("Client", "Round"),
    "client.training": ("TrainOutcome",),
    "client.transport": ("HttpTransport", "Transport"),
    "errors": (
        "ApprovalNeeded",
        "BudgetExhausted",
        "ConfigurationError",
        "ConsensusError",
        "IntegrityError",
        "PeerError",
        "PolicyDenied",
        "RefusedError",
        "SemfedError",
    ),
    "llm.remote": ("RemoteModel",),
    "units": ("Mechanism", "OutputKind"),
    "wire.messages": ("Receipt",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ApprovalNeeded",
    "BudgetExhausted",
    "Client",
    "ConfigurationError",
    "ConsensusError",
    "DecisionPreview",
    "HttpTransport",
    "IntegrityError",
    "LabelledPrompt",
    "LearnOutcome",
    "Mechanism",
    "Model",
    "OutputKind",
    "PeerError",
    "PolicyDenied",
    "Receipt",
    "Record",
    "RefusedError",
    "RemoteModel",
    "Round",
    "SemfedError",
    "SiteConfig",
    "TrainOutcome",
    "TrainableModel",
    "TrainingPlan",
    "Transport",
    "VerifiedConsensus",
    "load_site_config",
    "read_labelled",
    "read_records",
]


def __getattr__(name: str) -> object:
    """Import a public name from where it lives (PEP 562)."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, imported or not."""
    return sorted({*globals(), *__all__})
