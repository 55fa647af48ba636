"""What a hostile message costs before it is refused: no time and no memory that grow with what it claims or is."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace

import pytest

from semfed_secure.errors import PeerError
from semfed_secure.ids import sha256
from semfed_secure.wire import messages
from semfed_secure.wire.cbor import MAX_MAP_PAIRS, Limits, decode, encode
from semfed_secure.wire.manifest import MAX_MEMBERS
from semfed_secure.wire.prompts import PROMPT_SET_LIMITS
from semfed_secure.wire.results import MAX_PROOF_HASHES
from tests.wire import wire_examples

SIZE = 16 * 1024 * 1024
"""Of each hostile message: far within the widest limits we have, so that nothing is refused for its size."""
ARRAY, MAP, BYTES, TEXT = (major << 5 for major in (4, 5, 2, 3))


def head(major: int, count: int) -> bytes:
    """A head that declares ``count`` items or bytes."""
    return bytes([major | 27]) + count.to_bytes(8, "big") if count >> 32 else bytes([major | 26]) + count.to_bytes(4)


def pairs(count: int) -> bytes:
    """A map with ``count`` integer keys in order, each with the value zero."""
    return head(MAP, count) + b"".join(encode(key) + b"\x00" for key in range(count))


HOSTILE = {
    "array_of_2_to_64_items": head(ARRAY, 2**64 - 1) + bytes(SIZE),
    "array_of_2_to_32_items": head(ARRAY, 2**32 - 1) + bytes(SIZE),
    "array_with_an_item_in_every_byte": head(ARRAY, SIZE) + bytes(SIZE),
    "map_of_2_to_63_pairs": head(MAP, 2**63) + bytes(SIZE),
    "map_with_a_pair_in_every_two_bytes": head(MAP, SIZE // 2) + bytes(SIZE),
    "bytes_of_2_to_63": head(BYTES, 2**63) + bytes(SIZE),
    "bytes_of_one_more_than_there_are": head(BYTES, SIZE + 1) + bytes(SIZE),
    "text_of_2_to_32_bytes": head(TEXT, 2**32 - 1) + bytes(SIZE),
    "arrays_in_arrays": b"\x81" * SIZE,
    "maps_in_maps": b"\xa1\x00" * (SIZE // 2),
    "arrays_that_each_declare_the_rest": b"".join(head(ARRAY, SIZE - at) for at in range(0, SIZE, 4096)),
    "many_keys": pairs(70_000),
    "one_key_again_and_again": head(MAP, 70_000) + b"\x00\x00" * 70_000,
    "bytes_after_the_message": b"\x80" + bytes(SIZE),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_hostile_message_costs_neither_time_nor_memory(attack) -> None:
    """Refused with SF302 in under a fifth of a second, with less than 64 KiB of objects, whatever it declares."""
    data = HOSTILE[attack]
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(PeerError, match="SF302"):
            decode(data, limits=PROMPT_SET_LIMITS)
        seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (seconds < 0.2, peak < 64 * 1024) == (True, True), (seconds, peak)


def test_a_message_beyond_its_size_is_not_even_looked_at() -> None:
    """The size is the first question: SF301, with nothing allocated."""
    data = bytes(PROMPT_SET_LIMITS.max_bytes + 1)
    tracemalloc.start()
    with pytest.raises(PeerError, match="SF301"):
        decode(data, limits=PROMPT_SET_LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 1024


def test_what_is_accepted_takes_memory_in_proportion_to_its_items() -> None:
    """The densest message within a limit of items: arrays of nothing, some hundred bytes for each byte, no more."""
    items = 4_000
    data = encode([[]] * (items - 1))
    tracemalloc.start()
    value = decode(data, limits=Limits(max_bytes=SIZE, max_items=items))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(value) == items - 1
    assert peak < 200 * items
    with pytest.raises(PeerError, match="SF302"):
        decode(data, limits=Limits(max_bytes=SIZE, max_items=items - 1))


def test_a_map_of_more_pairs_than_any_message_has_is_refused_on_both_sides() -> None:
    """The largest map goes both ways, a pair more is neither made nor taken."""
    largest = dict.fromkeys(range(MAX_MAP_PAIRS), 0)
    limits = Limits(max_bytes=4096)
    assert decode(encode(largest), limits=limits) == largest
    with pytest.raises(ValueError, match="pairs"):
        encode({**largest, MAX_MAP_PAIRS: 0})
    more = bytes([MAP | 24, MAX_MAP_PAIRS + 1]) + encode(largest)[2:] + encode(MAX_MAP_PAIRS) + b"\x00"
    with pytest.raises(PeerError, match="SF302"):
        decode(more, limits=limits)


def test_the_largest_lists_that_a_server_may_send_are_taken() -> None:
    """A limit that the writer does not have would stop the largest federations: what is encoded at the caps decodes."""
    digests = tuple(sorted(sha256(number.to_bytes(2)) for number in range(MAX_MEMBERS)))
    proof = (bytes(32),) * MAX_PROOF_HASHES
    full = replace(wire_examples.COMMITMENTS, statements=digests, inclusion_proof=proof)
    assert messages.parse_commitments(messages.encode_commitments(full)) == full
    receipt = replace(wire_examples.RECEIPT, inclusion_proof=proof)
    assert messages.parse_receipt(messages.encode_receipt(receipt)) == receipt
