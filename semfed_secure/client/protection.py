"""What each mechanism means at a site: what it costs, how it is applied, what may be declared about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.client.decisions import RELATION, UNIT, account, charge_for, delta_of
from semfed_secure.client.outputs import Ballots, DraftOutputs, Votes, histogram_shape
from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.privacy.accountant import ACCOUNTANT, noise_multiplier_for
from semfed_secure.privacy.histogram import NoisyCounts, release_histogram, votes_from_counts
from semfed_secure.storage.ledger_rows import charge_by_key
from semfed_secure.units import Mechanism, Period, PrivacyDeclaration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from semfed_secure.client.adapters import Adapter
    from semfed_secure.client.config import SiteConfig
    from semfed_secure.client.round import VerifiedRound
    from semfed_secure.client.site import Site
    from semfed_secure.privacy.budget import Charge
    from semfed_secure.storage.ledger_rows import ChargeRow

_LEAST = np.iinfo(np.int64).min


def charge_of(draft: DraftOutputs, site: Site) -> Charge | None:
    """What the release of ``draft`` costs by itself; None under ``dp_sgd``, where training was charged."""
    mechanism = site.config.privacy.mechanism
    if mechanism is Mechanism.DP_SGD:
        return None
    parameters = {"sigma": repr(sigma_of(site.config))} if mechanism is Mechanism.RECORD_HISTOGRAM else {}
    manifest = draft.round.manifest
    # The round's name and not its manifest's digest: one round is one release, whatever a server says later.
    key = f"release:{manifest.federation}:{manifest.round_id}"
    return charge_for(site, key, f"release in {manifest.round_id}", mechanism, parameters)


def sigma_of(config: SiteConfig) -> float:
    """The noise scale at which one histogram costs what the site file says.

    Raises:
        ConfigurationError: SF141.
    """
    epsilon, delta = config.privacy.epsilon, config.privacy.delta
    if epsilon is None or delta is None:
        raise ConfigurationError("SF141", "record_histogram needs privacy.epsilon and privacy.delta")
    return noise_multiplier_for(epsilon, delta)


def require_training_charges(adapter: Adapter | None, site: Site) -> None:
    """Accept only an adapter whose every private training run is a committed charge on this site's population.

    Raises:
        IntegrityError: SF511.
    """
    if not training_charges(adapter, site):
        raise IntegrityError("SF511", "a charged training run was expected behind these outputs")


def training_charges(adapter: Adapter | None, site: Site) -> tuple[ChargeRow, ...]:
    """The ledger's rows of an adapter's training runs, first to last.

    Raises:
        IntegrityError: SF511, one of them is missing, not committed, without noise, or of another population.
    """
    rows: list[ChargeRow] = []
    with site.database.snapshot() as tx:
        for key in () if adapter is None else adapter.charges:
            row = charge_by_key(tx, key)
            stands = row is not None and (row.state, row.mechanism) == ("committed", Mechanism.DP_SGD)
            if row is None or not stands or row.population != site.config.data.population:
                raise IntegrityError("SF511", f"the committed dp_sgd charge `{key}` of this population was expected")
            rows.append(row)
    return tuple(rows)


def noised(ballots: Ballots, round_: VerifiedRound, site: Site) -> Votes:
    """Apply ``record_histogram``: one noised histogram, and per prompt the candidate that it speaks for.

    Cells beyond a prompt's own candidates are noised like all others and then ignored: post-processing.
    """
    shape = histogram_shape(round_.prompts)
    counts = [len(round_.prompts.candidates_of(prompt)) for prompt in round_.prompts.prompts]
    sigma = sigma_of(site.config)
    noisy = release_histogram(ballots.votes, shape, sigma=sigma)
    beyond = np.arange(shape[1]) >= np.asarray(counts)[:, None]
    return Votes(votes_from_counts(NoisyCounts(np.where(beyond, _LEAST, noisy)), sigma=sigma))


def declaration(draft: DraftOutputs, charge: Charge | None, site: Site) -> PrivacyDeclaration:
    """What the statement says about the outputs' privacy; ``epsilon`` is the population's lifetime total."""
    return PrivacyDeclaration(
        mechanism=site.config.privacy.mechanism,
        epsilon=account(site).spent[Period.LIFETIME],
        delta=delta_of(site),
        unit=UNIT,
        relation=RELATION,
        accountant=ACCOUNTANT,
        parameters=dict(charge.parameters) if charge is not None else _last_training(draft, site),
    )


def _last_training(draft: DraftOutputs, site: Site) -> Mapping[str, str]:
    rows = training_charges(draft.adapter, site)
    return {name: str(value) for name, value in json.loads(rows[-1].parameters).items()} if rows else {}
