"""What the protocol adds to its bare primitives, at both ends, for one bundle of 512 x 384 x 2 bytes.

    python benchmarks/protocol.py [--runs 80] [--json]

The client's side is steps 7 to 9 of `semfed_secure.client.release`: encode, commit, seal, sign, frame. The server's is
steps 1 to 14 of `semfed_secure.server.admission`, on a body as it comes from the network. Beside each stand the same
bytes through the primitives alone, in the same run and in turns; both are CPU time, which a busy machine changes less.
What is durable (in SQLite on this disk: log entry, bundle and signed receipt in one transaction) is measured apart, and
so is what reads the texts (step 15). A bundle of embeddings is no kind of contribution yet, votes are at most 40 kB:
the same bytes are measured as texts, 512 of 768 bytes, and 96 of 4096 (the longest there are). No norms are computed.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import hmac
import json
import os
import platform
import secrets
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cbor2
import cryptography
import numpy as np
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from semfed_secure.crypto.sealing import seal
from semfed_secure.crypto.signing import sign
from semfed_secure.identity.member_files import load_member_keys
from semfed_secure.ids import MemberId, PromptId, sha256
from semfed_secure.server import admission
from semfed_secure.server.admission import (
    AdmissionContext,
    AdmittedBundle,
    accept,
    admit,
    authenticate,
    read_contribution,
)
from semfed_secure.server.round import RoundState
from semfed_secure.testing import LocalFederation
from semfed_secure.testing.federation import FEDERATION, PASSPHRASE
from semfed_secure.units import Mechanism, OutputKind, PrivacyDeclaration, PrivacyUnit, Relation
from semfed_secure.wire import statement as statement_module
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.messages import (
    ITEM_TYPES,
    SALT_BYTES,
    Contribution,
    ContributionStatement,
    MessageType,
    Payload,
    RoundManifest,
    commit,
    encode_contribution,
    encode_payload,
    encode_statement,
    parse_payload,
    statement_info,
)
from semfed_secure.wire.prompts import Prompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from semfed_secure.crypto.keys import SigningKey

SHAPES = {"512 texts of 768 bytes": (512, 768), "96 texts of 4096 bytes": (96, 4_096)}
BAR = 2.0
ROUND = "bench"
PRIVACY = PrivacyDeclaration(
    Mechanism.DP_SGD, Decimal("3.5"), Decimal("0.000001"), PrivacyUnit.ENTITY, Relation.ADD_OR_REMOVE_ONE, "rdp"
)
LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz      ", np.uint8)


class NoEmbedder:
    """What the manifest of a round of texts names; no consensus is formed here."""

    name, weights_digest, dimension = "none", sha256(b"none"), 384


def texts(count: int, size: int) -> tuple[str, ...]:
    """Words of random letters, ``size`` bytes for each prompt."""
    drawn = np.random.default_rng(1).integers(0, len(LETTERS), (count, size))
    drawn[:, 0], drawn[:, -1] = 0, 0  # no blank at either end
    return tuple(LETTERS[row].tobytes().decode() for row in drawn)


@dataclass(frozen=True, slots=True)
class Client:
    """One site's end, with everything it has before its outputs are there."""

    member: MemberId
    key: SigningKey
    manifest: RoundManifest
    federation: LocalFederation

    def bundle(self, outputs: tuple[str, ...]) -> tuple[Contribution, bytes]:
        """Steps 7 to 9 of a release: the contribution and its body."""
        salt = secrets.token_bytes(SALT_BYTES)
        payload = encode_payload(Payload(salt=salt, kind=OutputKind.TEXT, texts=outputs))
        unsealed = self.statement(commit(salt, payload))
        sealed = seal(payload, info=statement_info(unsealed), to=self.federation.context.round_keys.of(ROUND).public)
        statement = replace(unsealed, ciphertext_digests=(sha256(sealed),))
        contribution = Contribution(sign(MessageType.STATEMENT, encode_statement(statement), self.key), (sealed,))
        return contribution, encode_contribution(contribution)

    def statement(self, commitment: bytes) -> ContributionStatement:
        """Everything but the ciphertext's digest."""
        return ContributionStatement(
            manifest_digest=self.manifest.digest,
            federation=FEDERATION,
            round_id=self.manifest.round_id,
            nonce=self.manifest.nonce,
            prompt_set_digest=self.manifest.prompt_set_digest,
            kind=OutputKind.TEXT,
            sender=self.member,
            signing_key_id=self.key.key_id,
            recipient_key_id=self.manifest.recipient_key_id,
            created_at_ms=self.manifest.opens_at_ms,
            commitment=commitment,
            ciphertext_digests=(),
            item_count=self.manifest.prompt_count,
            dtype=ITEM_TYPES[OutputKind.TEXT],
            scale=1,
            privacy=PRIVACY,
            policy_digest=sha256(b"policy"),
            log_checkpoint="x" * 4_000,  # a checkpoint with both log signatures is about as long
        )


@dataclass(frozen=True, slots=True)
class Bare:
    """The same bytes through the primitives alone: hashes, signatures, seal and plain `cbor2`, and nothing checked.

    Own keys and the recipient's are loaded; the sender's are not, for every bundle comes from another one.
    """

    payload: bytes
    info: bytes
    to_sign: bytes
    body: bytes

    def pair(self) -> tuple[Callable[[], object], Callable[[], object]]:
        """What a client cannot do without, and what a server cannot."""
        suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
        private = hpke.MLKEM768X25519PrivateKey(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())
        public, classical, lattice = private.public_key(), Ed25519PrivateKey.generate(), MLDSA65PrivateKey.generate()
        senders = classical.public_key().public_bytes_raw(), lattice.public_key().public_bytes_raw()
        salt = bytes(SALT_BYTES)

        def client() -> tuple[bytes, bytes, bytes]:
            hmac.digest(salt, self.payload, hashlib.sha256)
            sealed = suite.encrypt(self.payload, public, info=self.info)
            hashlib.sha256(sealed).digest()
            return sealed, classical.sign(self.to_sign), lattice.sign(self.to_sign)

        sealed, first, second = client()

        def server() -> object:
            cbor2.loads(cbor2.loads(cbor2.loads(self.body)[2]).value[2])  # body, envelope, statement
            Ed25519PublicKey.from_public_bytes(senders[0]).verify(first, self.to_sign)
            MLDSA65PublicKey.from_public_bytes(senders[1]).verify(second, self.to_sign)
            hashlib.sha256(sealed).digest()
            opened = suite.decrypt(sealed, private, info=self.info)
            hmac.digest(salt, opened, hashlib.sha256)
            return cbor2.loads(opened)

        return client, server


def context_of(federation: LocalFederation, state: RoundState, standing: object) -> AdmissionContext:
    """What the server's intake looks at when a body comes."""
    roster = federation.context.rosters.current()
    return AdmissionContext(
        federation=FEDERATION,
        round_id=ROUND,
        terms=federation.coordinator.store.terms(ROUND).at(state),
        pinned=roster,
        current=roster,
        key=federation.context.round_keys.of(ROUND),
        max_body_bytes=1 << 20,
        now=federation.context.clock.now(),
        standing=lambda _member: standing,
    )


def judge(body: bytes, context: AdmissionContext) -> AdmittedBundle:
    """All steps of admission, of a statement that was never seen before."""
    statement_module._digest_of.cache_clear()  # noqa: SLF001 - a server sees each statement for the first time
    return admit(accept(authenticate(read_contribution(body, context), context), context))


def in_turns(runs: int, **acts: Callable[[], object]) -> dict[str, float]:
    """Median milliseconds of each act, measured in turns after one that does not count."""
    found: dict[str, list[float]] = {name: [] for name in acts}
    gc.disable()
    for run in range(runs + 1):
        for name, act in acts.items():
            start = time.process_time_ns()
            act()
            if run:
                found[name].append((time.process_time_ns() - start) / 1e6)
    gc.enable()
    return {name: statistics.median(values) for name, values in found.items()}


def posts(federation: LocalFederation, manifest: RoundManifest, outputs: tuple[str, ...]) -> dict[str, float]:
    """Median milliseconds that the server takes from body to receipt: both posts of every member, durable."""
    transport, bodies, spent = federation.transport(), {}, {"commitment": [], "bundle": []}
    for member in federation.members:
        key = load_member_keys(federation.site(member) / "keys", PASSPHRASE).signing
        contribution, body = Client(member, key, manifest, federation).bundle(outputs)
        bodies[member] = (encode_contribution(replace(contribution, sealed=())), body)
    for place, kind in enumerate(spent):
        for both in bodies.values():
            start = time.perf_counter_ns()
            transport.post(manifest.round_id, both[place])
            spent[kind].append((time.perf_counter_ns() - start) / 1e6)
        if kind == "commitment":
            federation.close_round(ROUND)
    return {kind: statistics.median(values) for kind, values in spent.items()}


def measure(directory: Path, shape: tuple[int, int], runs: int) -> dict[str, object]:
    """Both ends, the primitives, and what is durable."""
    members, outputs = tuple(f"site-{n}" for n in range(12)), texts(*shape)
    prompts = PromptSet("bench", tuple(Prompt(PromptId(f"p{n}"), f"What is case {n}?") for n in range(len(outputs))))
    with LocalFederation(
        directory, members=members, prompt_sets=[prompts], embedder=NoEmbedder(), close_when_complete=False
    ) as federation:
        manifest = federation.open_round(ROUND, prompts, kind=OutputKind.TEXT, max_new_tokens=128)
        key = load_member_keys(federation.site(members[0]) / "keys", PASSPHRASE).signing
        client = Client(MemberId(members[0]), key, manifest, federation)
        contribution, body = client.bundle(outputs)
        statement = read_contribution(body, context_of(federation, RoundState.OPENING, None)).statement
        context = context_of(federation, RoundState.OPENING, statement.digest)
        opened = judge(body, context)
        to_sign = contribution.statement[: len(encode_statement(statement)) + 100]
        bare_client, bare_server = Bare(opened.payload_bytes, statement_info(statement), to_sign, body).pair()
        gate = admission._check_content  # noqa: SLF001 - step 15 is measured apart
        admission._check_content = lambda _text, _manifest: None  # noqa: SLF001
        try:
            median = in_turns(
                runs,
                client=partial(client.bundle, outputs),
                bare_client=bare_client,
                admit=partial(judge, body, context),
                bare_admit=bare_server,
                strict_decode=partial(parse_payload, opened.payload_bytes, limits=Limits(max_bytes=1 << 20)),
                plain_decode=partial(cbor2.loads, opened.payload_bytes),
            )
            median |= in_turns(5, content_gate=lambda: [gate(text, manifest) for text in outputs])
        finally:
            admission._check_content = gate  # noqa: SLF001
        durable = posts(federation, manifest, outputs)
    rounded = {name: round(value, 2) for name, value in median.items()}
    ratios = {end: round(median[end] / median[f"bare_{end}"], 2) for end in ("client", "admit")}
    return {
        "texts": len(outputs),
        "payload_bytes": len(opened.payload_bytes),
        "body_bytes": len(body),
        "cpu_milliseconds": rounded,
        "ratio": ratios,
        "within_bar": {end: ratio <= BAR for end, ratio in ratios.items()},
        "post_wall_milliseconds": {name: round(value, 1) for name, value in durable.items()},
    }


def main() -> None:
    """Measure, compare with the bars, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=80)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    shapes = {}
    for name, shape in SHAPES.items():
        with tempfile.TemporaryDirectory() as directory:
            shapes[name] = measure(Path(directory) / "federation", shape, arguments.runs)
    found = {
        "schema": 1,
        "command": f"python benchmarks/protocol.py --runs {arguments.runs} --json",
        "runs": arguments.runs,
        "bar": BAR,
        "kind": "text: embeddings are no kind of contribution yet, votes are at most 40 kB",
        "suite": "hybrid-pq",
        "python": platform.python_version(),
        "cryptography": cryptography.__version__,
        "processors": os.cpu_count(),
        "shapes": shapes,
    }
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    for name, each in shapes.items():
        print(name, each["cpu_milliseconds"], each["ratio"], each["post_wall_milliseconds"], sep="\n  ")


if __name__ == "__main__":
    main()
