"""Random models of several families, small enough to be run again and again, with a tokenizer of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from semfed_secure.llm.local import LocalModel
from semfed_secure.llm.settings import LocalSettings

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.llm.adapter import LoraAdapter

VOCABULARY = 320  # 256 bytes, a few merges, the end of a text
WINDOW = 4  # shorter than most prompts of the tests
MERGES = [("h", "e"), ("a", "r"), ("t", "i"), ("Ġ", "c"), ("Ġc", "ar"), ("Ġcar", "d")]
_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": VOCABULARY - 1,
}
_GEMMA = {
    "num_hidden_layers": 4,
    "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
}
FAMILIES = {
    "llama": lambda: LlamaConfig(**_SHAPE, tie_word_embeddings=True),
    "qwen3": lambda: Qwen3Config(**_SHAPE),
    "mistral": lambda: MistralConfig(**_SHAPE, sliding_window=WINDOW),
    "gemma3": lambda: Gemma3TextConfig(**(_SHAPE | _GEMMA)),
}
SETTINGS = LocalSettings(layers=2, rank=2, batch=3, private_rate=0.05, label_rate=0.02, label_epochs=4, label_batch=4)


def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE: any text has tokens, and any tokens are a text."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = [*letters, *("".join(pair) for pair in MERGES)]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    own = Tokenizer(models.BPE(vocab=vocabulary, merges=MERGES))
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    fillers = [f"<filler{number}>" for number in range(len(entries), VOCABULARY - 1)]
    own.add_special_tokens([*fillers, "<end>"])
    return PreTrainedTokenizerFast(tokenizer_object=own, eos_token="<end>")


def causal(family: str, *, scale: float = 0.3) -> Any:
    """A random model of a family; larger weights than usual, so that its choices are not all alike."""
    torch.manual_seed(sum(map(ord, family)))
    model = AutoModelForCausalLM.from_config(FAMILIES[family](), attn_implementation="sdpa")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(0, scale)
    model.requires_grad_(requires_grad=False)
    return model.eval()


def write_model(directory: Path, family: str = "llama") -> Path:
    """A model directory as a hub would give it."""
    causal(family).save_pretrained(directory)
    tokenizer().save_pretrained(directory)
    return directory


def stir(adapter: LoraAdapter, *, scale: float = 0.2) -> None:
    """An adapter that changes something: neither of its factors is zero."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in adapter.parameters:
            parameter.copy_(scale * torch.randn(parameter.shape, generator=draw))


def flat(adapter: LoraAdapter) -> torch.Tensor:
    """All parameters of an adapter, one after another."""
    return torch.cat([parameter.detach().flatten() for parameter in adapter.parameters]).clone()


def local(directory: Path, **changes: object) -> LocalModel:
    """A local model with the settings of the tests."""
    return LocalModel(directory, SETTINGS.model_copy(update=changes))
