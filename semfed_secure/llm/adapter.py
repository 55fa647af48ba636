"""The LoRA adapter of a local model: put in, switched, saved and loaded."""

from __future__ import annotations

import json
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from semfed_secure.errors import ConfigurationError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

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
        layers = causal.model.layers
        linear = {name.rpartition(".")[2] for name, module in layers.named_modules() if isinstance(module, nn.Linear)}
        if missing := [target for target in settings.targets if target not in linear]:
            raise ConfigurationError(
                "SF132",
                f"no linear map in the layers is called {', '.join(missing)}: "
                f"set model.settings.targets to some of {', '.join(sorted(linear))}",
            )
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.rank,
            lora_dropout=0.0,
            target_modules=list(settings.targets),
            layers_to_transform=list(range(max(0, len(layers) - settings.layers), len(layers))),
            task_type="CAUSAL_LM",
        )
        with warnings.catch_warnings():
            # PEFT still asks by the old name, which transformers 5 answers with a warning.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            self.model = get_peft_model(causal, config)
        self._settings = settings

    @property
    def maps(self) -> list[nn.Linear]:
        """The linear maps that are trained, in a fixed order; none has a bias."""
        return [part for part in self.model.modules() if isinstance(part, nn.Linear) and part.weight.requires_grad]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters: the weights of `maps`, in their order."""
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

    def save(self, directory: Path) -> None:
        """Write the adapter as PEFT does, with a note on how it is used."""
        # Left to itself, PEFT may ask a hub whether the vocabulary is the original one.
        self.model.save_pretrained(directory, safe_serialization=True, save_embedding_layers=False)
        (directory / "README.md").unlink(missing_ok=True)  # a model card template without content
        (directory / USE).write_text(json.dumps(self._note()) + "\n", encoding="utf-8")

    def load(self, directory: Path) -> None:
        """Take the weights that `save` wrote: all of them, or none if they are refused.

        Raises:
            IntegrityError: SF531 if they do not fit this model and these settings.
        """
        try:
            note = json.loads((directory / USE).read_text(encoding="utf-8"))
            weights = load_file(directory / WEIGHTS)
        except (OSError, ValueError, SafetensorError) as error:
            raise IntegrityError("SF531", f"the adapter in {directory.name} cannot be read: {error}") from error
        own = get_peft_model_state_dict(self.model, save_embedding_layers=False)
        if note != self._note() or _shapes(weights) != _shapes(own):
            raise IntegrityError("SF531", f"the adapter in {directory.name} was made under other settings")
        set_peft_model_state_dict(self.model, weights)

    def _note(self) -> dict[str, object]:
        return {"active_from": _ACTIVE_FROM, "layers": self._settings.layers}


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}
