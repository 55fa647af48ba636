"""Turn a GGUF file into a directory that `loading` reads: float32 safetensors, tokenizer, configuration."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from semfed_secure.errors import ConfigurationError
from semfed_secure.llm.loading import missing_extra


def convert_gguf(source: Path, directory: Path, *, pad_token: str | None = None) -> None:
    """Write the model of ``source`` into ``directory``, which exists and is empty.

    The weights are the dequantised ones, so that training starts from the values that the file stands for.

    Args:
        source: A GGUF file with its own tokenizer.
        directory: Where the model is written.
        pad_token: Replaces the one that the file names.

    Raises:
        ConfigurationError: SF131 if it cannot be read; SF103 if a package is missing.
    """
    try:
        import gguf  # noqa: F401 - transformers imports it by name, and says less when it is missing
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise missing_extra(error) from error
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        # transformers wants a directory; a link would do, but not on every file system.
        file = Path(scratch) / "model.gguf"
        shutil.copyfile(source, file)
        try:
            tokenizer = AutoTokenizer.from_pretrained(scratch, gguf_file=file.name)
            model = AutoModelForCausalLM.from_pretrained(scratch, gguf_file=file.name, dtype=torch.float32)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ConfigurationError("SF131", f"cannot read {source.name}: {error}") from error
        # What was quantised no longer is: saved along, these would make the next loading fail.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        for name in ("hf_quantizer", "quantization_method", "is_quantized"):
            model.__dict__.pop(name, None)
        if pad_token is not None:
            tokenizer.pad_token = pad_token
            model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
        tokenizer.padding_side = "right"
        model.save_pretrained(directory, safe_serialization=True)
        tokenizer.save_pretrained(directory)
