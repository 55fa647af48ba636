"""The settings of a local model."""

from __future__ import annotations

from pathlib import Path

import pytest

from semfed_secure.errors import ConfigurationError
from semfed_secure.llm.settings import LocalSettings, read_settings


def test_an_empty_section_means_the_defaults() -> None:
    """Nothing needs to be set."""
    assert read_settings({}) == LocalSettings()


def test_an_absolute_state_cache_is_taken() -> None:
    """The shared directory is one for all processes."""
    assert read_settings({"state_cache": "/var/cache/states"}).state_cache == Path("/var/cache/states")


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"state_cache": "states"}, "state_cache"),
        ({"state_cache": "~/states"}, "state_cache"),
        ({"rank": 0}, "rank"),
        ({"private_rate": float("nan")}, "private_rate"),
        ({"label_rate": 2}, "label_rate"),
        ({"learning_rate": 0.1}, "learning_rate"),
    ],
)
def test_a_wrong_field_is_named(document: dict[str, object], field: str) -> None:
    """SF101 says which field and why; a relative cache would be another directory in every process."""
    with pytest.raises(ConfigurationError, match=rf"model\.settings\.{field}") as caught:
        read_settings(document)
    assert caught.value.code == "SF101"
