"""The settings of a local model."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from semfed_secure.llm.settings import LocalSettings


def test_an_empty_section_means_the_defaults() -> None:
    """Nothing needs to be set; a list in the file is what the section holds."""
    assert LocalSettings.model_validate({}) == LocalSettings()
    assert LocalSettings.model_validate({"targets": ["q_proj"]}).targets == ("q_proj",)


def test_an_absolute_state_cache_is_taken() -> None:
    """The shared directory is one for all processes."""
    assert LocalSettings.model_validate({"state_cache": "/var/cache/states"}).state_cache == Path("/var/cache/states")


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"state_cache": "states"}, "state_cache"),
        ({"state_cache": "~/states"}, "state_cache"),
        ({"rank": 0}, "rank"),
        ({"private_rate": float("nan")}, "private_rate"),
        ({"label_rate": 2}, "label_rate"),
        ({"learning_rate": 0.1}, "learning_rate"),
        ({"threads": 0}, "threads"),
        ({"threads": "1"}, "threads"),
        ({"threads": True}, "threads"),
        ({"state_cache": "/var/\0"}, "state_cache"),
    ],
)
def test_a_wrong_field_is_named(document: dict[str, object], field: str) -> None:
    """Whatever it is; a relative cache would be another directory in every process."""
    with pytest.raises(ValidationError, match=rf"^1 validation error for LocalSettings\n{field}\n"):
        LocalSettings.model_validate(document)
