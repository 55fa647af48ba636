"""What users import, and what is never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import semfed_secure
from semfed_secure import Record

if TYPE_CHECKING:
    from tests.client.world import World


@pytest.mark.parametrize("name", semfed_secure.__all__)
def test_every_public_name_exists(name: str) -> None:
    """Each is imported when it is first used."""
    assert getattr(semfed_secure, name) is not None
    assert name in dir(semfed_secure)


def test_other_names_do_not_exist() -> None:
    """A misspelt name is an AttributeError, as everywhere."""
    with pytest.raises(AttributeError, match="Cleint"):
        semfed_secure.__getattr__("Cleint")


def test_nothing_private_is_shown_by_repr(world: World) -> None:
    """Records, drafts and an open site print without content or key material."""
    secret = Record("entity-77", "private phrase", "private answer")
    assert "77" not in repr(secret)
    assert "private" not in repr(secret)
    with world.client() as client:
        shown = repr(client.site.keys)
        assert client.site.keys.signing.export_secret().hex() not in shown
