"""Load pinned models: a directory or a hub name, safetensors only, never remote code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semfed_secure.errors import ConfigurationError
from semfed_secure.llm.files import directory_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from semfed_secure.ids import Digest

_WANTED = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model"]
_REFUSED = (".bin", ".pt", ".pth", ".ckpt", ".pickle", ".pkl", ".py")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A causal language model in float32 with frozen weights, its tokenizer, and the digest of all their files."""

    model: Any
    tokenizer: Any
    digest: Digest


def find_model(source: str | Path) -> Path:
    """The directory of ``source``: a directory, else a hub ``name`` or ``name@revision``.

    With hub access off (``HF_HUB_OFFLINE=1``) a hub name works only if it is in the cache already.

    Raises:
        ConfigurationError: SF131 if there is none, or if it holds pickled weights or code beside safetensors.
    """
    directory = Path(source)
    if not directory.is_dir():
        directory = _from_hub(str(source))
    if not any(directory.glob("*.safetensors")):
        raise ConfigurationError("SF131", f"safetensors weights were expected in {source}, found none")
    unsafe = sorted(path.name for path in directory.rglob("*") if path.suffix.lower() in _REFUSED)
    if unsafe:
        raise ConfigurationError("SF131", f"{source} holds files that can run code: {', '.join(unsafe)}")
    return directory


def load_causal_model(source: str | Path, *, admit: Callable[[Digest], None] | None = None) -> LoadedModel:
    """Load a decoder-only model for answering and adapter training.

    Nothing but safetensors weights is read and no code of the model's authors runs.

    Args:
        source: As `find_model`.
        admit: Told the digest of all files before one of them is parsed; what it raises ends the loading.

    Raises:
        ConfigurationError: SF131 it cannot be loaded; SF103 the extra ``[llm]`` is not installed.
    """
    directory = find_model(source)
    try:
        digest = directory_digest(directory)
    except OSError as error:
        raise ConfigurationError("SF131", f"cannot read {source}: {error}") from error
    if admit is not None:
        admit(digest)
    try:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise missing_extra(error) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
        model, report = AutoModelForCausalLM.from_pretrained(
            directory,
            output_loading_info=True,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            attn_implementation="sdpa",
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise ConfigurationError("SF131", f"cannot load {source}: {error}") from error
    if report["missing_keys"]:  # transformers would go on with random values in their place
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise ConfigurationError("SF131", f"{source} lacks weights of its own architecture: {missing}")
    model.requires_grad_(requires_grad=False)
    model.eval()
    return LoadedModel(model, tokenizer, digest)


def missing_extra(error: ImportError) -> ConfigurationError:
    """The error for a model stack that is not installed."""
    return ConfigurationError("SF103", f"{error.name} is not installed: pip install 'semfed-secure[llm]'", extra="llm")


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise missing_extra(error) from error
    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=_WANTED))
    except (HFValidationError, LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ConfigurationError("SF131", f"{name} is neither a directory nor a model that can be had") from error
