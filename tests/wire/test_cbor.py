"""The decoder accepts exactly one encoding of each value, within its limits, and nothing else."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from semfed_secure.errors import PeerError
from semfed_secure.wire.cbor import MAX_INTEGER, Limits, decode, encode

LIMITS = Limits(max_bytes=4096, max_items=200, max_depth=8)

# RFC 8949 appendix A, the examples inside our subset: value, encoding.
RFC_8949_ACCEPTED = [
    (0, "00"),
    (1, "01"),
    (10, "0a"),
    (23, "17"),
    (24, "1818"),
    (25, "1819"),
    (100, "1864"),
    (1000, "1903e8"),
    (1000000, "1a000f4240"),
    (1000000000000, "1b000000e8d4a51000"),
    (18446744073709551615, "1bffffffffffffffff"),
    (-18446744073709551616, "3bffffffffffffffff"),
    (-1, "20"),
    (-10, "29"),
    (-100, "3863"),
    (-1000, "3903e7"),
    (False, "f4"),
    (True, "f5"),
    (None, "f6"),
    (b"", "40"),
    (bytes.fromhex("01020304"), "4401020304"),
    ("", "60"),
    ("a", "6161"),
    ("IETF", "6449455446"),
    ('"\\', "62225c"),
    ("\u00fc", "62c3bc"),
    ("\u6c34", "63e6b0b4"),
    ("\U00010151", "64f0908591"),
    ([], "80"),
    ([1, 2, 3], "83010203"),
    ([1, [2, 3], [4, 5]], "8301820203820405"),
    (list(range(1, 26)), "98190102030405060708090a0b0c0d0e0f101112131415161718181819"),
    ({}, "a0"),
    ({1: 2, 3: 4}, "a201020304"),
    ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
    (["a", {"b": "c"}], "826161a161626163"),
    ({"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"}, "a56161614161626142616361436164614461656145"),
]

# RFC 8949 appendix A, the examples outside our subset.
RFC_8949_REFUSED = [
    "c249010000000000000000",  # bignum
    "c349010000000000000000",
    "f90000",  # floats
    "f98000",
    "fb3ff199999999999a",
    "fa47c35000",
    "f97c00",  # Infinity
    "f97e00",  # NaN
    "fa7fc00000",
    "fb7ff8000000000000",
    "f7",  # undefined
    "f0",  # simple(16)
    "f8ff",  # simple(255)
    "c074323031332d30332d32315432303a30343a30305a",  # tag 0
    "c11a514b67b0",
    "d74401020304",
    "d818456449455446",
    "d82076687474703a2f2f7777772e6578616d706c652e636f6d",
    "5f42010243030405ff",  # indefinite byte string
    "7f657374726561646d696e67ff",
    "9fff",
    "9f018202039f0405ffff",
    "bf61610161629f0203ffff",
    "bf6346756ef563416d7421ff",
]

HOSTILE = {
    "empty": "",
    "cut_head": "19",
    "cut_string": "4401",
    "cut_array": "8301",
    "cut_map_value": "a101",
    "cut_map_key": "a1",
    "trailing_byte": "0000",
    "two_items": "0102",
    "integer_not_shortest_8": "1817",
    "integer_not_shortest_16": "1900ff",
    "integer_not_shortest_32": "1a0000ffff",
    "integer_not_shortest_64": "1b00000000ffffffff",
    "string_length_not_shortest": "5801aa",
    "array_length_not_shortest": "980101",
    "map_length_not_shortest": "b8010101",
    "reserved_length_28": "1c",
    "reserved_length_30": "5e",
    "string_of_2_to_63_bytes": "5b7fffffffffffffff",
    "text_of_2_to_32_bytes": "7affffffff",
    "array_of_2_to_64_items": "9bffffffffffffffff",
    "map_of_2_to_63_pairs": "bb7fffffffffffffff",
    "more_items_than_the_limit": "98c8" + "00" * 200,
    "more_texts_than_the_limit": "83" + "9864" + "00" * 100 + "9861" + "00" * 97 + "790100" + "61" * 256,
    "long_text_cut": "81790100" + "61" * 255,
    "long_text_cut_inside": "8281790100" + "61" * 254 + "00",
    "long_text_not_shortest": "817900ff" + "61" * 255,
    "nine_deep": "81" * 9 + "00",
    "thousand_deep": "81" * 1000 + "00",
    "maps_nine_deep": "a100" * 9 + "00",
    "duplicate_integer_key": "a201000100",
    "duplicate_text_key": "a2616100616100",
    "keys_out_of_order": "a202000100",
    "text_keys_out_of_order": "a2616200616100",
    "negative_key": "a12000",
    "keys_of_two_kinds": "a20100616100",
    "bytes_key": "a1416100",
    "array_key": "a1800000",
    "null_key": "a1f600",
    "true_key": "a1f500",
    "float_key": "a1f9000000",
    "text_not_utf8": "61ff",
    "text_overlong_utf8": "62c080",
    "text_surrogate": "63eda080",
    "text_cut_code_point": "61c3",
    "break_alone": "ff",
    "shared_value_tag": "d81c8101",
    "set_tag": "d9010280",
    "regular_expression_tag": "d8236161",
    "simple_24_in_two_bytes": "f818",
    "false_in_two_bytes": "f814",
}


@pytest.mark.parametrize(("value", "encoded"), RFC_8949_ACCEPTED, ids=[e for _, e in RFC_8949_ACCEPTED])
def test_examples_of_rfc_8949(value, encoded) -> None:
    """The examples of appendix A inside the subset encode and decode as printed there."""
    assert encode(value).hex() == encoded
    decoded = decode(bytes.fromhex(encoded), limits=LIMITS)
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize("encoded", RFC_8949_REFUSED)
def test_examples_of_rfc_8949_outside_the_subset_are_refused(encoded) -> None:
    """Floats, tags, undefined, indefinite lengths: all SF302."""
    with pytest.raises(PeerError) as caught:
        decode(bytes.fromhex(encoded), limits=LIMITS)
    assert caught.value.code == "SF302"


@pytest.mark.parametrize("defect", HOSTILE)
def test_hostile_input_is_refused_for_its_defect(defect) -> None:
    """Each defect is a coded refusal, and no other kind of exception."""
    with pytest.raises(PeerError) as caught:
        decode(bytes.fromhex(HOSTILE[defect]), limits=LIMITS)
    assert caught.value.code == "SF302"
    assert caught.value.__cause__ is None


def test_limits_hold_at_their_edge() -> None:
    """One below and one above, for size, items and depth."""
    assert decode(encode(bytes(4093)), limits=LIMITS) == bytes(4093)
    with pytest.raises(PeerError, match="SF301"):
        decode(encode(bytes(4094)), limits=LIMITS)
    assert decode(encode([0] * 199), limits=LIMITS) == [0] * 199
    with pytest.raises(PeerError, match="SF302"):
        decode(encode([0] * 200), limits=LIMITS)
    assert decode(bytes.fromhex("81" * 8 + "00"), limits=LIMITS) == [[[[[[[[0]]]]]]]]
    with pytest.raises(PeerError, match="SF302"):
        decode(bytes.fromhex("81" * 9 + "00"), limits=LIMITS)


def test_a_huge_count_is_refused_before_anything_is_built(monkeypatch) -> None:
    """The builder never sees input that the scanner refuses."""

    def never(_data):
        raise AssertionError("built")

    monkeypatch.setattr(cbor2, "loads", never)
    for encoded in HOSTILE.values():
        if encoded[:1] != "6":  # only the builder can tell that text is not UTF-8
            with pytest.raises(PeerError):
                decode(bytes.fromhex(encoded), limits=LIMITS)


@pytest.mark.parametrize("value", [1.5, float("nan"), {1, 2}, object(), {1: 2, "a": 3}, {b"a": 1}, {True: 1}, [1.0]])
def test_a_value_without_an_encoding_is_refused(value) -> None:
    """Encoding fails loudly rather than approximately."""
    with pytest.raises(TypeError):
        encode(value)


@pytest.mark.parametrize("value", [MAX_INTEGER + 1, -MAX_INTEGER - 2, "\ud800"])
def test_a_value_out_of_range_is_refused(value) -> None:
    """Integers beyond 64 bits and lone surrogates."""
    with pytest.raises(ValueError, match=r"64 bits|surrogates"):
        encode(value)


SCALARS = st.one_of(
    st.integers(-MAX_INTEGER - 1, MAX_INTEGER), st.binary(max_size=40), st.text(max_size=20), st.booleans(), st.none()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.integers(0, MAX_INTEGER), inner, max_size=5),
        st.dictionaries(st.text(max_size=8), inner, max_size=5),
    ),
    max_leaves=20,
)
WIDE = Limits(max_bytes=1 << 20, max_items=10_000, max_depth=64)


@given(VALUES)
@example({1000: 2, 24: 1, 0: 3, 255: 4})
def test_every_value_comes_back_equal_from_one_encoding(value) -> None:
    """``decode(encode(x)) == x``, and encoding again gives the same bytes."""
    data = encode(value)
    assert decode(data, limits=WIDE) == value
    assert encode(decode(data, limits=WIDE)) == data


@given(st.dictionaries(st.integers(0, 100_000), st.integers(), max_size=8), st.randoms())
def test_the_order_of_insertion_does_not_show(mapping, random) -> None:
    """Equal maps have equal encodings."""
    mapping = {key: value % 1000 for key, value in mapping.items()}
    items = list(mapping.items())
    random.shuffle(items)
    assert encode(dict(items)) == encode(mapping)


@given(st.binary(max_size=64))
def test_arbitrary_bytes_decode_to_themselves_or_are_refused(data) -> None:
    """Whatever is accepted encodes to exactly the input; nothing but a PeerError escapes."""
    try:
        value = decode(data, limits=LIMITS)
    except PeerError:
        return
    assert encode(value) == data


@given(VALUES, st.data())
def test_a_flipped_bit_never_gives_the_same_value(value, data) -> None:
    """Two different inputs never decode to equal values of equal types."""
    encoded = encode(value)
    position = data.draw(st.integers(0, len(encoded) * 8 - 1))
    flipped = bytearray(encoded)
    flipped[position // 8] ^= 1 << position % 8
    try:
        other = decode(bytes(flipped), limits=WIDE)
    except PeerError:
        return
    assert encode(other) == bytes(flipped) != encoded
