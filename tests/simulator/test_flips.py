"""Every single flipped bit of every kind of message is refused by its receiver, with a code of that message.

Small messages are flipped bit by bit; of large ones a seeded sample of their structure, names, numbers, digests and
classical signatures, and one of each key, post-quantum signature, ciphertext and cosigned checkpoint inside. What is
exhaustive elsewhere is not repeated here: one signed envelope (tests/crypto/test_signing.py), one sealed blob
(tests/crypto/test_sealing.py), every payload codec (tests/wire/test_messages.py), checkpoints (tests/audit).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.simulator.samples import Round, Sample, of_client, of_root, of_server, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = (
    "roster",
    "manifest",
    "prompts",
    "receipt",
    "receipt's entry",
    "commitments",
    "commitments' entry",
    "consensus",
    "proof of growth",
)
ROOT = ("member record", "enrolment")
SERVER = ("contribution", "commitment", "opening", "payload of votes", "payload of texts")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Sample]]:
    """A genuine message of every kind."""
    held = Round(tmp_path_factory.mktemp("round") / "world")
    yield of_client(held) | of_root(held) | of_server()
    held.close()


@pytest.mark.parametrize("name", [*CLIENT, *ROOT, *SERVER])
def test_every_flipped_bit_is_refused_by_a_code(samples: dict[str, Sample], name: str) -> None:
    """The genuine message is taken, and none that differs from it by one bit."""
    sample = samples[name]
    assert refusal(sample.receive, sample.data) is None
    codes: Counter[str | None] = Counter()
    for place in sample.places(seed=7):
        changed = bytearray(sample.data)
        changed[place // 8] ^= 1 << place % 8
        code = refusal(sample.receive, bytes(changed))
        codes[code] += 1
        assert code in sample.codes, f"bit {place} of {name}: {code}"
    assert codes.total() >= min(8 * len(sample.data), 500)


def test_no_kind_of_message_is_missing(samples: dict[str, Sample]) -> None:
    """The cases above are all samples there are."""
    assert set(samples) == {*CLIENT, *ROOT, *SERVER}
