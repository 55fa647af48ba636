"""A small federation for the client's tests: three sites, six prompts, a clock that the test moves."""

from __future__ import annotations

import atexit
import json
import shutil
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np

from semfed_secure.client.collecting import join
from semfed_secure.client.outputs import DraftOutputs, Outputs
from semfed_secure.client.release import ReleasedOutputs, permit, privatise
from semfed_secure.client.site import DATABASE_FILE
from semfed_secure.clock import FixedClock
from semfed_secure.crypto.sealing import open_sealed
from semfed_secure.crypto.signing import verify
from semfed_secure.ids import Digest, PromptId, RoundId, sha256
from semfed_secure.llm.model import Model, Record
from semfed_secure.storage import Database
from semfed_secure.storage.ledger_rows import ChargeRow, list_charges
from semfed_secure.storage.outbox_rows import OutboxRow, list_outbox
from semfed_secure.testing import LocalFederation, SiteSettings, TableModel
from semfed_secure.units import Mechanism
from semfed_secure.wire.messages import (
    STATEMENT_LIMITS,
    ContributionStatement,
    MessageType,
    Payload,
    parse_contribution,
    parse_payload,
    parse_statement,
    statement_info,
)
from semfed_secure.wire.prompts import Prompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from semfed_secure.client.round import VerifiedRound
    from semfed_secure.client.session import Client
    from semfed_secure.client.transport import Transport

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MEMBERS = ("bay", "hill", "lake")
CANDIDATES = ("heart", "lung", "skin", "eye")
TEXTS = tuple(f"phrase {number}" for number in range(6))
PROMPTS = PromptSet("triage", tuple(Prompt(PromptId(f"p{n}"), text) for n, text in enumerate(TEXTS)), CANDIDATES)
OPEN_PROMPTS = PromptSet("titles", tuple(Prompt(PromptId(f"t{n}"), text) for n, text in enumerate(TEXTS)))
ROUND = RoundId("round-1")
UNSAFE, HISTOGRAM, DP = Mechanism.UNSAFE_NO_NOISE, Mechanism.RECORD_HISTOGRAM, Mechanism.DP_SGD
TRUTH = {text: CANDIDATES[number % 4] for number, text in enumerate(TEXTS)}
VOTES = (0, 1, 2, 3, 0, 1)


def records(member: str, *, entities: int = 40) -> tuple[Record, ...]:
    """Made-up records of one site: the true answer of each phrase."""
    return tuple(Record(f"{member}-{n}", TEXTS[n % 6], TRUTH[TEXTS[n % 6]]) for n in range(entities))


@cache
def _founded() -> Path:
    """A federation as it is when it was just founded, with empty databases: made once, copied by every test."""
    directory = Path(mkdtemp(prefix="semfed-founded-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    federation = LocalFederation(
        directory / "federation", members=MEMBERS, prompt_sets=(PROMPTS, OPEN_PROMPTS), clock=FixedClock(NOW)
    )
    for member in MEMBERS:
        state = federation.site(member) / "state"
        state.mkdir()
        Database.open(state / DATABASE_FILE, kind="client").close()
    federation.close()
    return directory / "federation"


class World:
    """A federation in a directory, and shorthand for what tests look at."""

    def __init__(self, directory: Path, **founding: Any) -> None:
        """Found it."""
        self.clock = founding.pop("clock", None) or FixedClock(NOW)
        self.directory = directory
        self.validation = directory / "validation.jsonl"
        if not self.validation.exists():
            rows = [{"prompt": text, "answer": TRUTH[text], "candidates": CANDIDATES} for text in TEXTS[:4]]
            self.validation.write_text("".join(json.dumps(row) + "\n" for row in rows))
        if not (directory / "federation").exists() and isinstance(self.clock, FixedClock):
            shutil.copytree(_founded(), directory / "federation")
        self.federation = LocalFederation(
            directory / "federation",
            members=MEMBERS,
            prompt_sets=(PROMPTS, OPEN_PROMPTS),
            clock=self.clock,
            **founding,
        )

    def settings(self, mechanism: Mechanism = Mechanism.DP_SGD, **changes: Any) -> SiteSettings:
        """Settings of a site with the validation set."""
        sections: Mapping[str, Any] = {"validation": {"file": str(self.validation)}} | changes.pop("sections", {})
        return SiteSettings(mechanism=mechanism, sections=sections, **changes)

    def client(
        self,
        member: str = "bay",
        *,
        mechanism: Mechanism = Mechanism.DP_SGD,
        model: Model | None = None,
        transport: Transport | None = None,
        on_step: Any = None,
        **changes: Any,
    ) -> Client:
        """Open a site."""
        opening: dict[str, Any] = {"model": model if model is not None else TableModel(TRUTH)}
        if transport is not None:
            opening["transport"] = transport
        if on_step is not None:
            opening["on_step"] = on_step
        return self.federation.client(member, settings=self.settings(mechanism, **changes), **opening)

    def open_round(self, name: str = ROUND, prompts: PromptSet = PROMPTS, **changes: Any) -> VerifiedRound | None:
        """Open a round over votes that every mechanism may take part in."""
        arguments = {"mechanisms": tuple(Mechanism), "max_epsilon": "Infinity"} | changes
        self.federation.open_round(name, prompts, **arguments)
        return None

    def joined(self, client: Client, name: str = ROUND) -> VerifiedRound:
        """The verified round, joined."""
        return join(client.site, self.federation.transport(), RoundId(name))

    def opened(self, body: bytes) -> tuple[ContributionStatement, Payload, bytes]:
        """What the server finds in a posted body: statement, payload and the payload's bytes."""
        contribution = parse_contribution(body)
        keys = [key for member in self.federation.context.rosters.current().records for key in member.signing_keys]
        signed = verify(MessageType.STATEMENT, contribution.statement, keys, limits=STATEMENT_LIMITS)
        statement = parse_statement(signed.payload)
        key = self.federation.context.round_keys.of(statement.round_id)
        plaintext = open_sealed(contribution.sealed[0], info=statement_info(statement), key=key)
        return statement, parse_payload(plaintext), plaintext


def events(client: Client) -> list[tuple[str, str]]:
    """Type and outcome of every entry in the site's log."""
    return [(str(entry.event.type), entry.event.outcome) for entry in client.site.audit.entries(0, 10_000)]


def charges(client: Client) -> list[ChargeRow]:
    """Every charge of the site's ledger."""
    with client.site.database.snapshot() as tx:
        return list_charges(tx)


def outbox(client: Client) -> list[OutboxRow]:
    """Everything in the site's outbox."""
    with client.site.database.snapshot() as tx:
        return list_outbox(tx)


def draft(round_: VerifiedRound, outputs: Any, client: Client) -> DraftOutputs:
    """A draft by the active adapter."""
    ready = client._engine.ready()
    return DraftOutputs(round_, outputs, ready.adapter, ready.digest)


def through(world: World, client: Client, outputs: Outputs, name: str = ROUND) -> ReleasedOutputs:
    """What leaves the only door's steps 1 to 6."""
    return privatise(permit(draft(world.joined(client, name), outputs, client), client.site), client.site)


class Words:
    """Embeds a text by its first word, as the server's sentence embedder would by its meaning."""

    name = "words"
    weights_digest: Digest = sha256(b"words")
    dimension = 32

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One unit vector per first word."""
        rows = [np.random.default_rng(sum(text.split()[0].encode())).standard_normal(32) for text in texts]
        return np.asarray([row / np.linalg.norm(row) for row in rows], np.float32)


def blind(member: str) -> dict[str, str]:
    """What a site knows: all but two phrases, different ones for each site."""
    start = 2 * MEMBERS.index(member)
    return {text: label for place, (text, label) in enumerate(TRUTH.items()) if place not in {start, start + 1}}


def taught(member: str) -> list[Record]:
    """Records of what a site knows."""
    known = list(blind(member).items())
    return [Record(f"{member}-{n}", *known[n % len(known)]) for n in range(40)]
