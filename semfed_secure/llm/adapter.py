"""The LoRA adapter of a local model: put in, switched, saved and loaded."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file

from semfed_secure.errors import ConfigurationError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import nn

    from semfed_secure.llm.settings import LocalSettings

WEIGHTS, DESCRIPTION, USE = "adapter_model.safetensors", "adapter_config.json", "semfed_adapter.json"
_ACTIVE_FROM = "last prompt token"


class LoraAdapter:
    """One adapter inside one model: active, or as if it were not there.

    With the adapter off the model gives exactly the base model's values.
    """

    def __init__(self, causal: Any, settings: LocalSettings) -> None:
        """Put a fresh adapter, which changes nothing yet, into the top layers of ``causal``.

        Raises:
            ConfigurationError: SF132 if the layers have no linear map of a target's name.
        """
        count = len(causal.model.layers)
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.rank,
            lora_dropout=0.0,
            target_modules=list(settings.targets),
            layers_to_transform=list(range(max(0, count - settings.layers), count)),
            task_type="CAUSAL_LM",
        )
        try:
            self.model = get_peft_model(causal, config)
        except ValueError as error:
            raise ConfigurationError("SF132", f"no adapter fits this model: {error}") from error
        self._settings = settings
        self.blank = True

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters, in a fixed order."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    @contextmanager
    def off(self) -> Iterator[None]:
        """The base model for the length of the block."""
        with self.model.disable_adapter():
            yield

    def reset(self) -> None:
        """Start over: a fresh random adapter that changes nothing yet."""
        for module in self.model.modules():
            if isinstance(module, LoraLayer):
                module.reset_lora_parameters("default", init_lora_weights=True)
        self.blank = True

    def save(self, directory: Path) -> None:
        """Write the adapter as PEFT does, with a note on how it is used."""
        self.model.save_pretrained(directory, safe_serialization=True)
        (directory / "README.md").unlink(missing_ok=True)  # a model card template without content
        note = {"active_from": _ACTIVE_FROM, "layers": self._settings.layers}
        (directory / USE).write_text(json.dumps(note) + "\n", encoding="utf-8")

    def load(self, directory: Path) -> None:
        """Take the weights that `save` wrote.

        Raises:
            IntegrityError: SF531 if they do not fit this model and these settings.
        """
        try:
            note = json.loads((directory / USE).read_text(encoding="utf-8"))
            weights = load_file(directory / WEIGHTS)
            result = set_peft_model_state_dict(self.model, weights)
        except (OSError, ValueError, RuntimeError) as error:
            raise IntegrityError("SF531", f"the adapter in {directory.name} cannot be read: {error}") from error
        if note.get("active_from") != _ACTIVE_FROM or result.unexpected_keys or len(weights) != len(self.parameters):
            raise IntegrityError("SF531", f"the adapter in {directory.name} was made under other settings")
        self.blank = False
