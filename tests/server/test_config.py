"""The server file: every field checked, nothing misspelt passes."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from semfed_secure.errors import ConfigurationError
from semfed_secure.server.config import load_server_config
from semfed_secure.units import Mechanism
from tests.server.files import SERVER_FILE

if TYPE_CHECKING:
    from pathlib import Path


def write(directory: Path, text: str) -> Path:
    """A server file."""
    path = directory / "server.toml"
    path.write_text(text)
    return path


def test_paths_start_beside_the_file_and_defaults_are_safe(tmp_path: Path) -> None:
    """Relative paths, loopback, a real privacy floor without ``unsafe_no_noise``."""
    config = load_server_config(write(tmp_path, SERVER_FILE))
    assert config.identity.keys == tmp_path / "keys"
    assert config.server.database == str(tmp_path / "state/server.db")
    assert config.server.host == "127.0.0.1"
    assert config.rounds.floor.max_epsilon == Decimal(8)
    assert Mechanism.UNSAFE_NO_NOISE not in config.rounds.floor.mechanisms


def test_words_and_lists_of_the_file_become_what_they_name(tmp_path: Path) -> None:
    """What TOML writes as text and lists is read as mechanisms and units."""
    floor = (
        '[rounds.floor]\nunit = "entity"\nrelation = "add_or_remove_one"\nmechanisms = ["dp_sgd"]\nmax_epsilon = "4"\n'
    )
    config = load_server_config(write(tmp_path, SERVER_FILE + floor))
    assert config.rounds.floor.mechanisms == (Mechanism.DP_SGD,)
    assert config.rounds.floor.max_epsilon == Decimal(4)


def test_a_database_url_is_left_as_it_is(tmp_path: Path) -> None:
    """``postgresql://`` is no path."""
    text = SERVER_FILE.replace("state/server.db", "postgresql://u@h/d")
    assert load_server_config(write(tmp_path, text)).server.database == "postgresql://u@h/d"


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("min_clients = 3", "min_client = 3", "rounds.min_client"),
        ("min_clients = 3", "min_clients = 0", "rounds.min_clients"),
        ("min_clients = 3", "trim_ppm = 500000", "rounds.trim_ppm"),
        ("port = 0", "port = 70000", "server.port"),
        ('member = "hub"', 'member = "The Hub"', "server.member"),
        ("min_clients = 3", "[rounds.floor]\nmax_epsilon = 8.0", "rounds.floor.max_epsilon"),
        ("min_clients = 3", '[rounds.floor]\nmax_epsilon = "-1"', "rounds.floor.max_epsilon"),
        ("min_clients = 3", '[rounds.floor]\nmax_epsilon = "1e400"', "rounds.floor.max_epsilon"),
        ("min_clients = 3", '[rounds.floor]\nmax_delta = "0"', "rounds.floor.max_delta"),
        ("min_clients = 3", '[rounds.floor]\nmechanisms = ["magic"]', "rounds.floor.mechanisms"),
        ("min_clients = 3", 'min_clients = "3"', "rounds.min_clients"),
        ("min_clients = 3", "min_clients = true", "rounds.min_clients"),
        ("min_clients = 3", "close_when_complete = 1", "rounds.close_when_complete"),
        ("state/server.db", "state\\u0000", "NUL"),
        ("min_clients = 3", "[limits]\nmax_body_bytes = 10", "limits.max_body_bytes"),
        ("[identity]", "[identities]", "identity"),
        ("[server]", "[server", "TOML"),
    ],
)
def test_a_bad_field_is_named(tmp_path: Path, old: str, new: str, field: str) -> None:
    """Misspelt, out of range, of the wrong kind: one error with the field's name."""
    with pytest.raises(ConfigurationError, match="SF101") as refusal:
        load_server_config(write(tmp_path, SERVER_FILE.replace(old, new)))
    assert field in refusal.value.message


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    """SF102 with the path."""
    with pytest.raises(ConfigurationError, match=r"SF102.*server\.toml"):
        load_server_config(tmp_path / "server.toml")
