"""The embedder: unit vectors, equal for equal texts, from local safetensors."""

from __future__ import annotations

import json
import pickle
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.llm.embedding import SentenceEmbedder, describe_embedder, load_embedder
from semfed_secure.llm.files import directory_digest
from tests.llm import tiny

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ("take two tablets", "take one tablet", "x", "take two tablets", "rest")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder as a hub would give it."""
    torch.manual_seed(1)
    where = tmp_path_factory.mktemp("encoder")
    shape = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    BertModel(BertConfig(vocab_size=tiny.VOCABULARY, max_position_embeddings=64, **shape)).save_pretrained(where)
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(where)
    return where


@pytest.fixture(scope="module")
def embedder(directory: Path) -> SentenceEmbedder:
    """The encoder as an embedder."""
    return load_embedder(str(directory))


def test_an_embedder_is_named_by_its_files(embedder: SentenceEmbedder, directory: Path) -> None:
    """Name, digest and dimension are those of the directory."""
    assert embedder.name == directory.name
    assert embedder.weights_digest == directory_digest(directory)
    assert embedder.dimension == 24


@pytest.mark.parametrize("modes", [("mean_tokens",), ("mean_tokens", "cls_token")])
def test_what_the_files_say_of_an_embedder_is_what_it_turns_out_to_be(
    directory: Path, tmp_path: Path, modes: tuple[str, ...]
) -> None:
    """Read from a plain encoder's files without loading it; loaded where they leave the width open."""
    where = tmp_path / "embedder"
    shutil.copytree(directory, where)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    prefix = "sentence_transformers.models."
    modules = [{"idx": n, "name": str(n), "path": p, "type": prefix + kind} for n, (p, kind) in enumerate(kinds)]
    (where / "modules.json").write_text(json.dumps(modules))
    (where / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 24} | {f"pooling_mode_{mode}": True for mode in modes}
    (where / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    loaded = load_embedder(str(where))
    described = describe_embedder(str(where))
    assert (described.name, described.weights_digest) == (loaded.name, loaded.weights_digest)
    assert described.dimension == loaded.dimension == 24 * len(modes)


def test_an_embedder_without_a_list_of_modules_is_loaded_to_be_described(directory: Path) -> None:
    """The library's own default decides then."""
    assert describe_embedder(str(directory)).dimension == 24


def test_vectors_have_length_one_and_equal_texts_are_equal(embedder: SentenceEmbedder) -> None:
    """One row per text in order; a text that stands twice has one vector, bit for bit."""
    vectors = embedder.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (5, 24)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert np.array_equal(vectors[0], vectors[3])
    assert not np.allclose(vectors[0], vectors[1], atol=1e-3)
    np.testing.assert_allclose(embedder.embed(TEXTS[1:2])[0], vectors[1], atol=1e-5)


def test_an_embedder_in_another_process_is_loaded_from_the_same_files(
    embedder: SentenceEmbedder, directory: Path, tmp_path: Path
) -> None:
    """What goes there names the files and their digest; the vectors are the same, and other weights are SF521."""
    sent = pickle.dumps(embedder)
    assert len(sent) < 1000
    there = pickle.loads(sent)
    assert there is not embedder
    assert there.embed(TEXTS).tobytes() == embedder.embed(TEXTS).tobytes()
    shutil.copytree(directory, tmp_path / "moved")
    moved = pickle.dumps(load_embedder(str(tmp_path / "moved")))
    (tmp_path / "moved" / "more.json").write_text("{}")
    with pytest.raises(IntegrityError) as caught:
        pickle.loads(moved)
    assert caught.value.code == "SF521"


def test_no_texts_have_no_vectors(embedder: SentenceEmbedder) -> None:
    """An empty list is served."""
    assert embedder.embed([]).shape == (0, 24)


def test_cut_weights_are_refused(directory: Path, tmp_path: Path) -> None:
    """A download that broke off is SF131."""
    for file in directory.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: 900 if file.suffix == ".safetensors" else None])
    with pytest.raises(ConfigurationError, match="cannot load the embedder") as caught:
        load_embedder(str(tmp_path))
    assert caught.value.code == "SF131"
