"""What one more charge costs, as the site file configures it; nothing of the site is opened for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.client.protection import sigma_of
from semfed_secure.client.training import parameters_of, plan_for
from semfed_secure.privacy.mechanisms import cost_of
from semfed_secure.units import Mechanism

if TYPE_CHECKING:
    from semfed_secure.client.config import SiteConfig
    from semfed_secure.privacy.accountant import RdpCurve


def configured_cost(config: SiteConfig) -> RdpCurve:
    """The curve of one training run, or of one release under ``record_histogram``.

    Raises:
        ConfigurationError: SF141, figures that no noise reaches.
    """
    mechanism = config.privacy.mechanism
    if mechanism is Mechanism.RECORD_HISTOGRAM:
        return cost_of(mechanism, {"sigma": repr(sigma_of(config))})
    return cost_of(mechanism, parameters_of(plan_for(config)))
