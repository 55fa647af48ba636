"""Record one whole round as bytes: ``python -m tests.vectors.record DIRECTORY``, once per wire version.

Recorded files are never changed: what was once sent must parse and verify for as long as its version is supported.
The keys are seeds of equal bytes, the passphrase stands below; they protect nothing.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from semfed_secure.clock import to_ms
from semfed_secure.crypto.key_files import Argon2Cost, save_key
from semfed_secure.crypto.keys import OpeningKey
from semfed_secure.crypto.sealing import seal
from semfed_secure.crypto.signing import sign
from semfed_secure.identity.roster import verify_roster
from semfed_secure.ids import sha256
from semfed_secure.wire import messages
from semfed_secure.wire.messages import MessageType, commit, statement_info
from semfed_secure.wire.prompts import encode_prompt_set
from tests.identity.identity_examples import HUB, NOW, RECORDS, ROOT, key, roster
from tests.wire import wire_examples as examples

PASSPHRASE = b"recorded for the tests"
NORTH_KEY, HUB_KEY, HUB_OPENING_KEY = key(1), key(3), OpeningKey.from_seed(bytes([3] * 32))


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
    )
    payload = messages.encode_payload(examples.PAYLOAD)
    unsealed = replace(
        examples.STATEMENT,
        manifest_digest=manifest.digest,
        signing_key_id=NORTH_KEY.key_id,
        recipient_key_id=manifest.recipient_key_id,
        created_at_ms=to_ms(NOW) + 1,
        commitment=commit(examples.PAYLOAD.salt, payload),
        ciphertext_digests=(),
    )
    sealed = seal(payload, info=statement_info(unsealed), to=HUB_OPENING_KEY.public)
    statement = replace(unsealed, ciphertext_digests=(sha256(sealed),))
    signed = sign(MessageType.STATEMENT, messages.encode_statement(statement), NORTH_KEY)
    receipt = replace(examples.RECEIPT, statement_digest=statement.digest)
    commitments = replace(examples.COMMITMENTS, manifest_digest=manifest.digest, statements=(statement.digest,))
    consensus = replace(examples.CONSENSUS, manifest_digest=manifest.digest)
    files = {
        "federation.root": ROOT.encode(),
        "roster": roster_file,
        "member.record": RECORDS[0],
        "prompt-set": encode_prompt_set(examples.PROMPT_SET),
        "manifest": sign(MessageType.MANIFEST, messages.encode_manifest(manifest), HUB_KEY),
        "contribution": messages.encode_contribution(messages.Contribution(signed, (sealed,))),
        "commitment": messages.encode_contribution(messages.Contribution(signed, ())),
        "commitments": sign(MessageType.COMMITMENTS, messages.encode_commitments(commitments), HUB_KEY),
        "receipt": sign(MessageType.RECEIPT, messages.encode_receipt(receipt), HUB_KEY),
        "consensus": sign(MessageType.CONSENSUS, messages.encode_consensus(consensus), HUB_KEY),
        "votes": messages.encode_payload(examples.VOTES),
    }
    directory.mkdir(parents=True)
    for name, data in files.items():
        (directory / name).write_bytes(data)
    cost = Argon2Cost(memory_kib=64, iterations=1, lanes=1)
    save_key(directory / "opening.key", HUB_OPENING_KEY, PASSPHRASE, cost=cost)


if __name__ == "__main__":
    record(Path(sys.argv[1]))
