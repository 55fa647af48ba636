"""A federation in one process, for tests: the real server behind the production transport interface.

::

    with LocalFederation(tmp_path, members=("bay", "hill", "lake"), prompt_sets=[prompts]) as federation:
        federation.open_round("round-1", prompts)
        for name in federation.members:
            with federation.client(name, model=TableModel()) as client, client.join("round-1") as r:
                r.train(records[name])
                r.contribute()
        federation.close_round("round-1")

Everything is real but the network and the model: keys, roster, signatures, sealing, admission, ledger, audit log and
consensus are those of production. Nothing here is for production.
"""

from semfed_secure.testing.federation import LocalFederation, SiteSettings
from semfed_secure.testing.models import OneAnswerModel, TableModel
from semfed_secure.testing.transports import (
    Altering,
    Garbling,
    LocalTransport,
    Silent,
    TransportWrapper,
    Unreachable,
    flipped,
)

__all__ = [
    "Altering",
    "Garbling",
    "LocalFederation",
    "LocalTransport",
    "OneAnswerModel",
    "Silent",
    "SiteSettings",
    "TableModel",
    "TransportWrapper",
    "Unreachable",
    "flipped",
]
