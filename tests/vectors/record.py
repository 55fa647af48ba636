"""Record one whole round as bytes: ``python -m tests.vectors.record DIRECTORY``, once per wire version.

Beside each file stands its annotation (``.edn``), beside the directory the digests of its files. Recorded files are
never changed: what was once sent must parse and verify for as long as its version is supported. The keys are seeds of
equal bytes, the passphrase stands below; they protect nothing.
"""

from __future__ import annotations

import base64
import sys
from dataclasses import replace
from pathlib import Path

from semfed_secure.clock import to_ms
from semfed_secure.crypto.key_files import Argon2Cost, save_key
from semfed_secure.crypto.keys import OpeningKey, SigningKey, Suite
from semfed_secure.crypto.sealing import seal
from semfed_secure.crypto.signing import sign
from semfed_secure.identity.enrolment import make_request
from semfed_secure.identity.records import create_record
from semfed_secure.identity.roster import verify_roster
from semfed_secure.ids import hex_digest, sha256
from semfed_secure.wire import messages
from semfed_secure.wire.messages import MessageType, commit, statement_info
from semfed_secure.wire.prompts import encode_prompt_set
from tests.identity.identity_examples import HUB, NOW, RECORDS, ROOT, key, member, roster
from tests.vectors.annotate import annotate
from tests.wire import wire_examples as examples

PASSPHRASE = b"recorded for the tests"
NORTH_KEY, HUB_KEY, HUB_OPENING_KEY = key(1), key(3), OpeningKey.from_seed(bytes([3] * 32))
WEST_KEY = SigningKey.from_secret(Suite.NIST_P256, bytes([4] * 32))
WEST = replace(member("west", 4), signing_keys=(WEST_KEY.public,))
P256_OPENING_KEY = OpeningKey.from_seed(bytes([5] * 32), Suite.NIST_P256)
TOKEN = base64.urlsafe_b64encode(bytes([6] * 32)).rstrip(b"=")


def record(directory: Path) -> None:
    """Write the files of one round."""
    roster_file = roster()
    manifest = replace(
        examples.MANIFEST,
        roster_digest=verify_roster(roster_file, root=ROOT, now=NOW, last_sequence=0).digest,
        roster_sequence=5,
        recipient_key=HUB.sealing_key.encode(),
        opens_at_ms=to_ms(NOW),
        closes_at_ms=to_ms(NOW) + 600_000,
        opening_ends_at_ms=to_ms(NOW) + 1_200_000,
        groups=(messages.Group("healthcare", ("north",)), messages.Group("research", ("west",))),
    )
    contribution, statement = contribute(manifest, "north", NORTH_KEY, HUB_OPENING_KEY)
    other, _ = contribute(manifest, "west", WEST_KEY, P256_OPENING_KEY)
    receipt = replace(examples.RECEIPT, statement_digest=statement.digest)
    commitments = replace(examples.COMMITMENTS, manifest_digest=manifest.digest, statements=(statement.digest,))
    consensus = replace(
        examples.CONSENSUS,
        manifest_digest=manifest.digest,
        results=(examples.CONSENSUS.results[0], examples.CONSENSUS.results[0][::-1]),
        admitted_counts=(1, 1),
    )
    files = {
        "federation.root": ROOT.encode(),
        "roster": roster_file,
        "member.record": RECORDS[0],
        "prompt-set": encode_prompt_set(examples.PROMPT_SET),
        "manifest": sign(MessageType.MANIFEST, messages.encode_manifest(manifest), HUB_KEY),
        "contribution": messages.encode_contribution(contribution),
        "contribution.nist-p256": messages.encode_contribution(other),
        "commitment": messages.encode_contribution(replace(contribution, sealed=())),
        "commitments": sign(MessageType.COMMITMENTS, messages.encode_commitments(commitments), HUB_KEY),
        "receipt": sign(MessageType.RECEIPT, messages.encode_receipt(receipt), HUB_KEY),
        "consensus": sign(MessageType.CONSENSUS, messages.encode_consensus(consensus), HUB_KEY),
        "enrolment": make_request(create_record(WEST, [WEST_KEY]), TOKEN),
        "votes": messages.encode_payload(examples.VOTES),
    }
    directory.mkdir(parents=True)
    for name, data in files.items():
        (directory / name).write_bytes(data)
    cost = Argon2Cost(memory_kib=64, iterations=1, lanes=1)
    save_key(directory / "opening.key", HUB_OPENING_KEY, PASSPHRASE, cost=cost)
    digests = {path.name: hex_digest(sha256(path.read_bytes())) for path in sorted(directory.iterdir())}
    for name in digests:
        (directory / f"{name}.edn").write_text(annotate((directory / name).read_bytes()), encoding="utf-8")
    listed = "".join(f"{name} {digest}\n" for name, digest in digests.items())
    directory.with_name(f"{directory.name}.digests").write_text(listed, encoding="utf-8")


def contribute(
    manifest: messages.RoundManifest, sender: str, signer: SigningKey, recipient: OpeningKey
) -> tuple[messages.Contribution, messages.ContributionStatement]:
    """The example's outputs, sealed to ``recipient`` and signed by ``signer``."""
    payload = messages.encode_payload(examples.PAYLOAD)
    unsealed = replace(
        examples.STATEMENT,
        manifest_digest=manifest.digest,
        sender=sender,
        signing_key_id=signer.key_id,
        recipient_key_id=recipient.key_id,
        created_at_ms=manifest.opens_at_ms + 1,
        commitment=commit(examples.PAYLOAD.salt, payload),
        ciphertext_digests=(),
    )
    sealed = seal(payload, info=statement_info(unsealed), to=recipient.public)
    statement = replace(unsealed, ciphertext_digests=(sha256(sealed),))
    signed = sign(MessageType.STATEMENT, messages.encode_statement(statement), signer)
    return messages.Contribution(signed, (sealed,)), statement


if __name__ == "__main__":
    record(Path(sys.argv[1]))
