"""A GGUF file becomes a directory that loads, with the values that the file stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import pytest
import torch

from semfed_secure.errors import ConfigurationError
from semfed_secure.llm.conversion import convert_gguf
from semfed_secure.llm.loading import load_causal_model
from tests.llm import tiny

if TYPE_CHECKING:
    from pathlib import Path


def write_gguf(path: Path) -> dict[str, torch.Tensor]:
    """A tiny Llama as one GGUF file; returns its weights by their names in transformers."""
    model, words = tiny.causal("llama"), tiny.tokenizer()
    shape = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(shape.num_hidden_layers)
    writer.add_context_length(shape.max_position_embeddings)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_attention_heads)
    writer.add_head_count_kv(shape.num_key_value_heads)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    writer.add_vocab_size(shape.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words.convert_ids_to_tokens(list(range(tiny.VOCABULARY))))
    writer.add_token_types([1] * tiny.VOCABULARY)
    writer.add_token_merges([" ".join(pair) for pair in tiny.MERGES])
    writer.add_eos_token_id(tiny.VOCABULARY - 1)
    writer.add_pad_token_id(tiny.VOCABULARY - 1)
    weights = dict(model.named_parameters())
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, shape.num_hidden_layers)
    for name, value in weights.items():
        stored = value.numpy()
        heads = {"q_proj": shape.num_attention_heads, "k_proj": shape.num_key_value_heads}.get(name.split(".")[-2])
        if heads:  # GGUF pairs the two halves of a rotation row by row
            stored = stored.reshape(heads, 2, -1, stored.shape[1]).swapaxes(1, 2).reshape(stored.shape)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def test_a_converted_file_loads_with_its_values(tmp_path: Path) -> None:
    """Weights are exact, padding is what was asked for, and nothing of the quantised form is left."""
    weights = write_gguf(tmp_path / "tiny.gguf")
    made = tmp_path / "made"
    made.mkdir()
    convert_gguf(tmp_path / "tiny.gguf", made, pad_token="<filler300>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "tiny.gguf"]
    loaded = load_causal_model(made)
    for name, parameter in loaded.model.named_parameters():
        torch.testing.assert_close(parameter, weights[name], rtol=0, atol=0)
    assert loaded.tokenizer.pad_token == "<filler300>"
    assert loaded.model.config.pad_token_id == loaded.tokenizer.pad_token_id == 300
    assert not hasattr(loaded.model.config, "quantization_config")
    text = "the heart and his arm"
    assert loaded.tokenizer(text).input_ids == tiny.tokenizer()(text).input_ids
    assert loaded.tokenizer.eos_token_id == tiny.VOCABULARY - 1


def test_something_else_is_refused(tmp_path: Path) -> None:
    """A file that is no GGUF: SF131, and nothing is left beside the target."""
    (tmp_path / "x.gguf").write_bytes(b"not a model at all" * 10)
    (tmp_path / "made").mkdir()
    with pytest.raises(ConfigurationError, match=r"cannot read x\.gguf") as caught:
        convert_gguf(tmp_path / "x.gguf", tmp_path / "made")
    assert caught.value.code == "SF131"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "x.gguf"]
