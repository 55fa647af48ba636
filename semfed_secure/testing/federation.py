"""A whole federation below one directory: root, server and sites, with real keys and throw-away passphrases."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from semfed_secure.audit.log import AuditLog
from semfed_secure.client.session import Client
from semfed_secure.clock import Clock, SystemClock, SystemRandomness, to_ms
from semfed_secure.crypto.key_files import Argon2Cost, load_signing_key, save_key
from semfed_secure.crypto.keys import OpeningKey, SigningKey
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.identity.federation_files import ROOT_FILE, ROSTER_FILE
from semfed_secure.identity.files import replace_file
from semfed_secure.identity.member_files import (
    LOG_FILE,
    OPENING_FILE,
    RECORD_FILE,
    SIGNING_FILE,
    load_member_keys,
    load_member_record,
)
from semfed_secure.identity.records import MemberRecord, Role, create_record
from semfed_secure.identity.root import FederationRoot
from semfed_secure.identity.roster import Revocation, sign_roster
from semfed_secure.ids import FederationId, MemberId, RoundId, hex_digest
from semfed_secure.server.config import LimitsSection
from semfed_secure.server.context import ServerContext
from semfed_secure.server.coordinator import Coordinator
from semfed_secure.server.opening import RoundPlan
from semfed_secure.server.rosters import RosterKeeper
from semfed_secure.server.round_keys import ROUND_KEYS, RoundKeys
from semfed_secure.storage import Database
from semfed_secure.testing.transports import LocalTransport
from semfed_secure.units import Mechanism, OutputKind, PrivacyUnit, Relation
from semfed_secure.wire.messages import CandidateSource, ConsensusRule, Embedder, Group, PrivacyFloor, RoundManifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from semfed_secure.server.embedder import Embedder as LoadedEmbedder
    from semfed_secure.wire.prompts import PromptSet

FEDERATION, SERVER = FederationId("test-federation"), MemberId("server")
PASSPHRASE = b"only for tests"
_ROOT_KEY = "root-1.key"
_CHEAP = Argon2Cost(memory_kib=64, iterations=1, lanes=1)
_FOREVER = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """What a test may want to change about one site; the defaults take part in everything.

    ``policy`` is merged over the site's policy, which extends ``pack:research/synthetic`` and grants what the
    federation has; ``sections`` over the site file.
    """

    mechanism: Mechanism = Mechanism.DP_SGD
    epsilon: str = "4"
    delta: str = "1e-6"
    budget: str = "8"
    population_bound: int = 1000
    max_records_per_entity: int = 2
    policy: Mapping[str, Any] | None = None
    sections: Mapping[str, Mapping[str, Any]] | None = None


class LocalFederation:
    """Root, roster, server and sites below ``directory``; opened again, also by another process, it goes on.

    Everything that a user's test touches is production code: sites are opened by `Client.open` from a site file,
    with policy, ledger and audit log on disk.
    """

    def __init__(
        self,
        directory: Path,
        *,
        members: Sequence[str],
        prompt_sets: Sequence[PromptSet],
        clock: Clock | None = None,
        embedder: LoadedEmbedder | None = None,
        close_when_complete: bool = True,
        min_witnesses: int = 0,
    ) -> None:
        """Found the federation, or take up the one that lies there.

        Args:
            directory: Where everything lies.
            members: The sites.
            prompt_sets: The prompt sets that the sites' policies allow.
            clock: Everybody's clock.
            embedder: What the server compares texts with; rounds of texts need one.
            close_when_complete: Whether a round closes as soon as every site was admitted.
            min_witnesses: Witnesses that must vouch for the server's log before a round opens. With any, every site is
                founded as a witness too, and its policy demands as many.
        """
        self.directory, self.members = directory, tuple(MemberId(name) for name in members)
        self._clock = clock if clock is not None else SystemClock()
        self._embedder, self._prompt_sets, self._min_witnesses = embedder, tuple(prompt_sets), min_witnesses
        if not (directory / ROOT_FILE).exists():
            self._found()
        self.root = FederationRoot.parse((directory / ROOT_FILE).read_bytes())
        keys = load_member_keys(directory / SERVER / "keys", PASSPHRASE)
        self._database = Database.open(directory / SERVER / "server.db", kind="server")
        self.context = ServerContext(
            database=self._database,
            audit=AuditLog(self._database, key=keys.log, clock=self._clock, writer=f"{SERVER}/server"),
            keys=keys,
            round_keys=RoundKeys(directory / SERVER / ROUND_KEYS, keys),
            rosters=RosterKeeper(directory / ROSTER_FILE, root=self.root, database=self._database, clock=self._clock),
            clock=self._clock,
            randomness=SystemRandomness(),
            limits=LimitsSection(),
            close_when_complete=close_when_complete,
            min_witnesses=min_witnesses,
            embedder=None if embedder is None else (lambda: embedder),
        )
        self.coordinator = Coordinator(self.context)

    def __enter__(self) -> Self:
        """Already open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the server's database."""
        self.close()

    def close(self) -> None:
        """Close the server's database; everything stays on disk."""
        self._database.close()

    # -- the server -------------------------------------------------------------------------------------------

    def transport(self) -> LocalTransport:
        """A way to the server."""
        return LocalTransport(self.coordinator, self.context)

    def open_round(
        self,
        round_id: str,
        prompts: PromptSet,
        *,
        kind: OutputKind = OutputKind.VOTES,
        min_clients: int = 2,
        closes_in_seconds: float = 600.0,
        opening_seconds: float = 600.0,
        mechanisms: Sequence[Mechanism] = (Mechanism.DP_SGD, Mechanism.RECORD_HISTOGRAM),
        max_epsilon: str = "100",
        max_new_tokens: int = 16,
        max_candidates: int = 0,
        candidates_from: CandidateSource | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> RoundManifest:
        """Announce a round that opens now, by the rule that its kind has: plurality, or semantic groups.

        With ``max_candidates`` a round of texts forms candidates to vote on, not labels; see `vote_on`. It forms one
        consensus in each of ``groups``, which are sites by the domain of their policies.
        """
        now, text = self._clock.now(), kind is OutputKind.TEXT
        embedder = None
        if text and self._embedder is not None:
            embedder = Embedder(self._embedder.name, self._embedder.weights_digest, self._embedder.dimension)
        plan = RoundPlan(
            round_id=RoundId(round_id),
            kind=kind,
            rule=ConsensusRule(
                name="proposals" if max_candidates else "semantic_group" if text else "weighted_plurality",
                min_clients=min_clients,
                min_support_ppm=0 if max_candidates else 500_000,
                min_margin_ppm=0 if max_candidates else 1,
                similarity_ppm=700_000 if text else 0,
                trim_ppm=0,
                weights="equal",
                max_candidates=max_candidates,
            ),
            dp_floor=PrivacyFloor(
                max_epsilon, "0.00001", PrivacyUnit.ENTITY, Relation.ADD_OR_REMOVE_ONE, tuple(mechanisms)
            ),
            max_new_tokens=max_new_tokens,
            opens_at=now,
            closes_at=now + timedelta(seconds=closes_in_seconds),
            opening_ends_at=now + timedelta(seconds=closes_in_seconds + opening_seconds) if text else None,
            embedder=embedder,
            candidates_from=candidates_from,
            groups=tuple(
                Group(name, tuple(map(MemberId, sorted(members)))) for name, members in sorted((groups or {}).items())
            ),
        )
        manifest = self.coordinator.open_round(plan, prompts)
        self.coordinator.advance()
        return manifest

    def vote_on(self, round_id: str, proposals: str, **terms: Any) -> RoundManifest:
        """Announce a round of votes on what the round ``proposals`` published."""
        prompts, source = self.coordinator.to_vote_on(RoundId(proposals))
        return self.open_round(round_id, prompts, candidates_from=source, **terms)

    def close_round(self, round_id: str) -> str:
        """Take no more of what the round takes now, and go on from there; the round's state afterwards.

        A round of texts is `opening` after the first call if somebody committed, and published after the second.
        """
        name = RoundId(round_id)
        if self.coordinator.store.head(name).state in {"collecting", "opening"}:
            self.coordinator.close_round(name)
        self.coordinator.advance()
        return self.coordinator.store.head(name).state

    # -- the sites --------------------------------------------------------------------------------------------

    def site(self, member: str) -> Path:
        """The directory of one site."""
        return self.directory / "sites" / member

    def site_file(self, member: str, settings: SiteSettings | None = None) -> Path:
        """Write a site's policy and site file, and return the latter."""
        own = settings if settings is not None else SiteSettings()
        directory = self.site(member)
        replace_file(directory / "policy.yaml", json.dumps(self._policy(member, own), indent=1).encode())
        path = directory / "site.toml"
        replace_file(path, _toml(self._sections(member, own)).encode())
        return path

    def client(self, member: str, *, settings: SiteSettings | None = None, **opening: Any) -> Client:
        """Open a site as `Client.open` does, behind this federation's transport.

        Args:
            member: Which site.
            settings: What to change about it.
            opening: Further arguments of `Client.open`: ``model``, ``transport``, ``on_step`` …
        """
        arguments: dict[str, Any] = {"transport": self.transport(), "clock": self._clock} | opening
        return Client.open(self.site_file(member, settings), **arguments)

    def publish_roster(self, *, sequence: int, revoked: Sequence[str] = (), expires_in: timedelta = _FOREVER) -> None:
        """Sign and publish another roster."""
        replace_file(self.directory / ROSTER_FILE, self.sign_roster(sequence, revoked, expires_in))

    def sign_roster(self, sequence: int, revoked: Sequence[str] = (), expires_in: timedelta = _FOREVER) -> bytes:
        """A roster of the server and all sites, signed by the root, not published."""
        now = self._clock.now()
        key = load_signing_key(self.directory / _ROOT_KEY, PASSPHRASE)
        directories = [self.directory / SERVER / "keys", *(self.site(name) / "keys" for name in self.members)]
        return sign_roster(
            [(directory / RECORD_FILE).read_bytes() for directory in directories],
            root=self.root,
            keys=[key],
            sequence=sequence,
            issued_at=now,
            expires_at=now + expires_in,
            revocations=[Revocation(MemberId(name), 1, to_ms(now), "test") for name in revoked],
        )

    def _found(self) -> None:
        """Make every key, the root file and the first roster."""
        self.directory.mkdir(parents=True, exist_ok=True)
        root_key = SigningKey.generate()
        save_key(self.directory / _ROOT_KEY, root_key, PASSPHRASE, cost=_CHEAP)
        self._enrol(SERVER, self.directory / SERVER / "keys", Role.SERVER)
        roles = (Role.CLIENT, Role.WITNESS) if self._min_witnesses else (Role.CLIENT,)
        for name in self.members:
            self._enrol(name, self.site(name) / "keys", *roles)
        self.root = FederationRoot(FEDERATION, 1, (root_key.public,))
        replace_file(self.directory / ROSTER_FILE, self.sign_roster(1))
        # Last: whoever finds the root file finds a whole federation.
        replace_file(self.directory / ROOT_FILE, self.root.encode())

    def _enrol(self, name: MemberId, directory: Path, *roles: Role) -> None:
        """A member's key directory as `semfed keys create` makes it, but quick to open."""
        directory.mkdir(parents=True, mode=0o700)
        now = self._clock.now()
        signing, log = SigningKey.generate(), LogSigningKey.generate(f"{name}.example/{FEDERATION}/{name}")
        opening = OpeningKey.generate() if Role.SERVER in roles else None
        record = MemberRecord(
            federation=FEDERATION,
            member_id=name,
            domain=f"{name}.example",
            jurisdiction="US",
            roles=frozenset(roles),
            signing_keys=(signing.public,),
            sealing_key=None if opening is None else opening.public,
            log_key=log.public.encode(),
            valid_from_ms=to_ms(now - timedelta(hours=1)),
            valid_until_ms=to_ms(now + 2 * _FOREVER),
            sequence=1,
        )
        (directory / RECORD_FILE).write_bytes(create_record(record, [signing]))
        for file, key in ((SIGNING_FILE, signing), (OPENING_FILE, opening), (LOG_FILE, log)):
            if key is not None:
                save_key(directory / file, key, PASSPHRASE, cost=_CHEAP)

    def _policy(self, member: str, settings: SiteSettings) -> dict[str, Any]:
        """A leaf policy that grants exactly what this federation has."""
        server = load_member_record(self.directory / SERVER / "keys")
        policy: dict[str, Any] = {
            "format": "semfed/policy/1",
            "id": f"policy-of-{member}",
            "version": "1.0.0",
            "title": "Policy of one site of a test",
            "default": "deny",
            "domain": "research",
            "owner": "the test",
            "extends": ["pack:research/synthetic"],
            "grants": {
                "actions": ["open_dataset", "join", "train", "release", "learn"],
                "datasets": [
                    {
                        "id": f"synthetic-{member}",
                        "population": f"people-of-{member}",
                        "classification": "synthetic",
                        "budgets": [{"period": "lifetime", "epsilon": settings.budget, "delta": settings.delta}],
                    }
                ],
                "kinds": ["votes", "text"],
                "mechanisms": [str(mechanism) for mechanism in Mechanism],
                "prompts": sorted({hex_digest(prompts.digest) for prompts in self._prompt_sets}),
                "proposed_candidates": sorted({hex_digest(prompts.digest) for prompts in self._prompt_sets}),
                "models": [{"family": "test"}],
                "peers": [
                    {
                        "server_id": SERVER,
                        "federation": FEDERATION,
                        "signing_key_ids": [key.key_id for key in server.signing_keys],
                        "jurisdiction": server.jurisdiction,
                    }
                ],
            },
        }
        if self._min_witnesses:
            policy["limits"] = {"peers": {"min_witnesses": self._min_witnesses}}
        return _merged(policy, settings.policy or {})

    def _sections(self, member: str, settings: SiteSettings) -> dict[str, Any]:
        privacy: dict[str, Any] = {"mechanism": str(settings.mechanism)}
        if settings.mechanism is not Mechanism.UNSAFE_NO_NOISE:
            privacy |= {"epsilon": settings.epsilon, "delta": settings.delta}
        passphrase = self.directory / "passphrase"
        if not passphrase.exists():
            passphrase.touch(mode=0o600)
            passphrase.write_bytes(PASSPHRASE)
        sections: dict[str, Any] = {
            "site": {"federation": FEDERATION, "member": member, "state": "state"},
            "identity": {"keys": "keys", "passphrase_file": str(passphrase)},
            "federation": {"root": str(self.directory / ROOT_FILE), "server_id": SERVER},
            "server": {"url": "http://127.0.0.1:9"},
            "policy": {"file": "policy.yaml"},
            "data": {
                "dataset": f"synthetic-{member}",
                "population": f"people-of-{member}",
                "classification": "synthetic",
                "population_bound": settings.population_bound,
                "max_records_per_entity": settings.max_records_per_entity,
            },
            "model": {"kind": "local", "source": "given", "family": "test"},
            "privacy": privacy,
        }
        return _merged(sections, settings.sections or {})


def _merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` laid on ``base``, section by section."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Flat sections as TOML; JSON writes texts, numbers and flags the same way."""
    parts = [
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in section.items())
        for name, section in sections.items()
    ]
    return "\n".join(parts)
