"""Document ids: the vectors and the refusals of wire-protocol 6."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convexpy.errors import InvalidId
from convexpy.values import decode_id, encode_id, new_internal_id

COUNTING = bytes(range(16)).hex()
VECTORS = [
    (1, "00" * 16, "0400000000000000000000000000248"),
    (1, "ff" * 16, "07zzzzzzzzzzzzzzzzzzzzzzzzzz328"),
    (127, COUNTING, "fw0020g30g2gc1r81450p30d1r7ze5r"),
    (128, COUNTING, "g00g00820c20a1g7104gm2rc1m70zyds"),
    (10001, COUNTING, "j57000820c20a1g7104gm2rc1m70ynr8"),
    (10002, bytes(range(14)).hex() + "4e20", "j97000820c20a1g7104gm2rc1n721adb"),
    (16383, COUNTING, "zxzg00820c20a1g7104gm2rc1m70zxg5"),
    (16384, "00112233445566778899aabbccddeeff", "g200200h48sm8nb6ey49kanvskeyxzzsq4"),
    (2097152, COUNTING, "g2080080041061050r3gg28a1c60t3gfz4wg"),
    (268435456, COUNTING, "g2081001000g40r40m30e209185gr38e1xwvj"),
    (4294967295, "ff" * 16, "zzzzzzrfzzzzzzzzzzzzzzzzzzzzzzzzzzxjj"),
]
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


@pytest.mark.parametrize(("table", "internal", "text"), VECTORS, ids=[text for _, _, text in VECTORS])
def test_the_vectors_of_the_format_hold_both_ways(table: int, internal: str, text: str) -> None:
    assert encode_id(table, bytes.fromhex(internal)) == text
    assert decode_id(text) == (table, bytes.fromhex(internal))


def test_an_id_from_the_wild() -> None:
    number, internal = decode_id("kg204m40v9m1bmkthp86n486mh85s0rc")
    assert (number, int.from_bytes(internal[-2:], "big")) == (540, 20572)


@given(st.integers(1, 2**32 - 1), st.binary(min_size=16, max_size=16))
def test_every_id_comes_back(table: int, internal: bytes) -> None:
    text = encode_id(table, internal)
    assert 31 <= len(text) <= 37
    assert decode_id(text) == (table, internal)


@given(st.integers(1, 2**32 - 1), st.lists(st.binary(min_size=16, max_size=16), min_size=2, max_size=5))
def test_ids_of_a_table_are_ordered_as_their_bytes(table: int, internals: list[bytes]) -> None:
    assert [encode_id(table, internal) for internal in sorted(internals)] == sorted(
        encode_id(table, internal) for internal in internals
    )


@pytest.mark.parametrize("text", [text for _, _, text in VECTORS])
def test_no_other_text_within_one_letter_is_an_id(text: str) -> None:
    """Checksum and padding see every single wrong letter."""
    for position in range(len(text)):
        for letter in ALPHABET:
            if letter != text[position]:
                with pytest.raises(InvalidId):
                    decode_id(text[:position] + letter + text[position + 1 :])


def raw_id(body: bytes) -> str:
    """An id with a right checksum over any body, also one that `encode_id` would not write."""
    low = high = 0
    for byte in body:
        low = (low + byte) % 256
        high = (high + low) % 256
    raw = body + bytes((low, high))
    padding = -len(raw) * 8 % 5
    number = int.from_bytes(raw, "big") << padding
    letters = (len(raw) * 8 + padding) // 5
    return "".join(ALPHABET[number >> 5 * (letters - 1 - place) & 31] for place in range(letters))


GOOD = "j57000820c20a1g7104gm2rc1m70ynr8"
INTERNAL = bytes(range(16))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it has 0 characters, ids have 31 to 37."),
        (GOOD[:30], "it has 30 characters, ids have 31 to 37."),
        (GOOD + "0", "it has 33 characters, ids have 31 to 37."),
        (GOOD + "000", "it has 35 characters, ids have 31 to 37."),
        (GOOD + "0" * 6, "it has 38 characters, ids have 31 to 37."),
        (GOOD.upper(), "'J' does not occur in ids."),
        (GOOD[:-1] + "i", "'i' does not occur in ids."),
        (GOOD[:-1] + "l", "'l' does not occur in ids."),
        (GOOD[:-1] + "o", "'o' does not occur in ids."),
        (GOOD[:-1] + "u", "'u' does not occur in ids."),
        (GOOD[:-1] + "=", "'=' does not occur in ids."),
        (GOOD[:-1] + "é", "'é' does not occur in ids."),
        (GOOD[:-1] + "9", "its checksum is wrong."),
        ("0400000000000000000000000000249", "its last character is wrong."),
        (raw_id(b"\x00" + INTERNAL), "its table number is malformed."),
        (raw_id(b"\x81\x00" + INTERNAL), "its table number is malformed."),
        (raw_id(b"\x80\x80" + INTERNAL), "its table number is malformed."),
        (raw_id(b"\x01\x01" + INTERNAL), "its table number is malformed."),
        (raw_id(b"\xff\xff\xff\xff\x1f" + INTERNAL), "its table number is malformed."),
        (raw_id(b"\xff\xff\xff\xff\xff" + INTERNAL), "its table number is malformed."),
        (raw_id(b"\xff\xff\xff\xff\xff\x01" + INTERNAL), "it has 39 characters, ids have 31 to 37."),
    ],
)
def test_what_is_no_id_is_refused(text: str, reason: str) -> None:
    """Table 0, long varints, leftover bytes and upper case included: only what `encode_id` writes is an id."""
    with pytest.raises(InvalidId) as refused:
        decode_id(text)
    assert str(refused.value) == f"{text[:64]!r} is not a document id: {reason}"


@given(st.text(ALPHABET, min_size=29, max_size=39))
def test_what_decodes_encodes_to_itself(text: str) -> None:
    try:
        number, internal = decode_id(text)
    except InvalidId:
        return
    assert encode_id(number, internal) == text


@pytest.mark.parametrize(
    ("table", "internal"), [(0, INTERNAL), (-1, INTERNAL), (2**32, INTERNAL), (1, INTERNAL[1:]), (1, INTERNAL * 2)]
)
def test_no_id_is_made_that_cannot_be_read(table: int, internal: bytes) -> None:
    with pytest.raises(AssertionError):
        encode_id(table, internal)


def test_a_long_text_is_clipped_in_the_refusal() -> None:
    with pytest.raises(InvalidId) as refused:
        decode_id("x" * 10_000)
    assert len(str(refused.value)) < 200


def test_new_ids_are_ordered_by_time_and_carry_the_day() -> None:
    seed = random.Random(1)
    ids = [new_internal_id(seed.randbytes(8), 20_000 * 86_400_000 + step) for step in range(50)]

    assert ids == sorted(ids)
    assert {len(made) for made in ids} == {16}
    assert int.from_bytes(ids[0][-2:], "big") == 20_000
    assert int.from_bytes(ids[0][:6], "big") == 20_000 * 86_400_000
