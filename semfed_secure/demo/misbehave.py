"""The sites that misbehave: one lies in a coordinated way, one sends damaged bytes, one is late.

``python -m semfed_secure.demo.misbehave ROLE SITE_FILE ANSWERS OUTCOMES ROUND…`` runs one of them through the public
library: `Client`, `Round.contribute(outputs=...)` and the `Transport` interface. Nothing of the server or of the other
sites is within its reach but what any member can reach.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semfed_secure.client.config import SiteConfig, load_site_config
from semfed_secure.client.records import read_records
from semfed_secure.client.session import Client, Round
from semfed_secure.client.transport import HttpTransport, Transport
from semfed_secure.demo.plan import SiteRole
from semfed_secure.errors import PeerError, SemfedError
from semfed_secure.identity.tls import member_uri
from semfed_secure.ids import FederationId, MemberId, RoundId
from semfed_secure.llm.model import Progress, Record, TrainingPlan
from semfed_secure.privacy.histogram import Vote
from semfed_secure.units import Mechanism
from semfed_secure.wire.messages import Outcome, parse_contribution
from semfed_secure.wire.prompts import PromptSet

POLL_SECONDS = 0.5
WAIT_SECONDS = 3_600.0
"""How long a site waits for the round that it committed to."""
OPEN_STATES = frozenset({"announced", "collecting"})
FLIPPED = 0x01
INVENTED = 100
"""Entities that vote for each answer where entities vote: far more than the noise could hide."""


class BlackBox:
    """A model that nobody looks into: it says it was trained, and its answers come from elsewhere."""

    def answer(self, prompts: Sequence[str], *, max_new_tokens: int) -> list[str | None]:
        """Nothing: the outputs are given to `Round.contribute`."""
        del max_new_tokens
        return [None] * len(prompts)

    def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> NDArray[np.float32]:
        """No preference."""
        return np.full((len(prompts), len(candidates)), -np.inf, dtype=np.float32)

    def use_adapter(self, directory: Path | None) -> None:
        """Any adapter will do."""

    def fit_private(
        self,
        records: Sequence[Record],
        *,
        candidates: Sequence[str],
        plan: TrainingPlan,
        directory: Path,
        progress: Progress,
    ) -> None:
        """Leave a file, so that the site's own ledger is charged like anybody's."""
        del records, candidates
        (directory / "adapter.json").write_text("{}", encoding="utf-8")
        progress(plan.steps, plan.steps)

    def fit_labels(
        self,
        prompts: Sequence[str],
        labels: Sequence[str],
        *,
        candidates: Sequence[str],
        directory: Path,
        progress: Progress,
    ) -> None:
        """It learns nothing from others."""
        del labels, candidates
        (directory / "adapter.json").write_text("{}", encoding="utf-8")
        progress(len(prompts), len(prompts))


class DamagingTransport(HttpTransport):
    """Flips one bit of every bundle on its way: of the ciphertext, which the statement's signed digest covers."""

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """Send the damaged bytes; a commitment has no ciphertext yet."""
        if not parse_contribution(body).sealed:
            return super().post(round_id, body)
        return super().post(round_id, body[:-1] + bytes([body[-1] ^ FLIPPED]))


class LateTransport(HttpTransport):
    """Sends every bundle only after its round has closed."""

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """Wait until the round takes no more contributions, then send."""
        while _state(self, round_id) in OPEN_STATES:
            time.sleep(POLL_SECONDS)
        return super().post(round_id, body)


def transport_for(role: SiteRole, config: SiteConfig) -> Transport:
    """How a site of this role reaches the server."""
    kinds = {SiteRole.BROKEN: DamagingTransport, SiteRole.LATE: LateTransport}
    server = member_uri(FederationId(config.site.federation), MemberId(config.federation.server_id))
    return kinds.get(role, HttpTransport).to(config.server, server)


def take_part(role: SiteRole, site_file: Path, answers: Path, rounds: Sequence[str]) -> dict[str, dict[str, str]]:
    """Contribute to each of ``rounds`` as ``role`` does; what the site itself was told, per round.

    Args:
        role: How it behaves.
        site_file: Its configuration.
        answers: JSON, output kind → prompt id → what it answers.
        rounds: In the order in which they open.
    """
    config = load_site_config(site_file)
    lines: dict[str, dict[str, str]] = {}
    given: dict[str, dict[str, str]] = json.loads(answers.read_text(encoding="utf-8"))
    with Client.open(config, model=BlackBox(), transport=transport_for(role, config)) as client:
        for number, name in enumerate(rounds):
            _wait_until_open(client, name)
            lines[name] = _contribute(client.join(name), config, given, first=number == 0)
            _say(f"{name}: {lines[name]['outcome']} {lines[name].get('code', '')}")
    return lines


def _contribute(round_: Round, config: SiteConfig, given: dict[str, dict[str, str]], *, first: bool) -> dict[str, str]:
    """Contribute once and say how it went; private training is paid for in the first round, as by everybody."""
    own = given[str(round_.manifest.kind)]
    try:
        if config.privacy.mechanism is Mechanism.RECORD_HISTOGRAM:
            receipt = round_.contribute(ballots(round_.prompts, own))
        else:
            if first and config.data.records is not None:
                round_.train(read_records(config.data.records))
            receipt = round_.contribute([own.get(prompt.id) for prompt in round_.prompts.prompts])
        if receipt.outcome is Outcome.COMMITTED:
            round_.wait_for_consensus(WAIT_SECONDS)  # which opens what was committed to
            receipt = round_.receipt or receipt
    except PeerError as error:
        return {"outcome": "refused", "code": str(error.fields.get("server_code") or error.code)}
    except SemfedError as error:
        return {"outcome": "stopped", "code": error.code}
    outcome: dict[str, str] = {"outcome": str(receipt.outcome)}
    return outcome | ({"code": receipt.code} if receipt.code else {})


def ballots(prompts: PromptSet, own: Mapping[str, str]) -> list[Vote]:
    """The votes of invented entities, `INVENTED` for each answer: no client can tell that nobody stands behind them."""
    return [
        (f"{prompt.id}-{number}", place, prompts.candidates_of(prompt).index(own[prompt.id]))
        for place, prompt in enumerate(prompts.prompts)
        for number in range(INVENTED)
        if prompt.id in own
    ]


def _wait_until_open(client: Client, name: str) -> None:
    while not any(row.round_id == name for row in client.rounds()):
        time.sleep(POLL_SECONDS)


def _state(transport: HttpTransport, round_id: RoundId) -> str:
    return next((row.state for row in transport.rounds() if row.round_id == round_id), "unknown")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def main(arguments: Sequence[str]) -> int:
    """Run one misbehaving site to its end and write down what it was told."""
    role, site_file, answers, outcomes, *rounds = arguments
    told: dict[str, Any] = take_part(SiteRole(role), Path(site_file), Path(answers), rounds)
    Path(outcomes).write_text(json.dumps(told), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
