"""A message of a version that we do not know is told so, whatever else is in it."""

from __future__ import annotations

import pytest

from semfed_secure.errors import PeerError
from semfed_secure.wire.cbor import encode
from tests.vectors.annotate import MESSAGES


@pytest.mark.parametrize("tag", sorted(MESSAGES))
@pytest.mark.parametrize("version", [0, 2, -1, 2**64 - 1, None, True, "1", [1]], ids=str)
def test_an_unknown_version_is_sf303_for_every_message(tag, version) -> None:
    """Every table with a tag, of the wire, of identities, of key files: the version is judged before any field."""
    with pytest.raises(PeerError) as caught:
        MESSAGES[tag].parse(encode({0: tag, 1: version, 2: "fields of another version"}))
    assert caught.value.code == "SF303"


@pytest.mark.parametrize("tag", sorted(MESSAGES))
def test_a_message_without_a_version_or_of_another_type_is_refused(tag) -> None:
    """No version is an unknown one; another tag is another message, whose version does not matter."""
    with pytest.raises(PeerError, match="SF303"):
        MESSAGES[tag].parse(encode({0: tag}))
    with pytest.raises(PeerError, match="SF302"):
        MESSAGES[tag].parse(encode({0: "semfed/no-such-message", 1: 1}))
