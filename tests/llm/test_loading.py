"""Models come from safetensors directories alone, whole, and run no code of their authors."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.llm.embedding import load_embedder
from semfed_secure.llm.files import directory_digest
from semfed_secure.llm.loading import find_model, load_causal_model
from tests.llm import tiny

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from semfed_secure.ids import Digest


@pytest.fixture
def copy(llama: Path, tmp_path: Path) -> Path:
    """A model directory that a test may damage."""
    return shutil.copytree(llama, tmp_path / "model")


def refused(source: Path | str, word: str, *, load: Callable[[Path | str], object] = load_causal_model) -> None:
    """Fail unless loading is refused with SF131 and a sentence that holds ``word``."""
    with pytest.raises(ConfigurationError, match=word) as caught:
        load(source)
    assert caught.value.code == "SF131"


def test_a_model_is_frozen_exact_and_named_by_its_files(llama: Path) -> None:
    """Float32 weights that ask for no gradient, and the digest of the directory."""
    loaded = load_causal_model(llama)
    assert loaded.digest == directory_digest(llama)
    assert not loaded.model.training
    parameters = dict(loaded.model.named_parameters())
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in parameters.values())
    for name, stored in load_file(llama / "model.safetensors").items():
        assert torch.equal(parameters[name], stored)


def test_files_that_are_not_admitted_are_not_parsed(copy: Path) -> None:
    """The digest is told first: whoever refuses it is never answered with what a parser made of the files."""
    (copy / "config.json").write_bytes(b"{")
    told: list[Digest] = []

    def refuse(digest: Digest) -> None:
        told.append(digest)
        raise IntegrityError("SF521", "other weights were expected")

    with pytest.raises(IntegrityError):
        load_causal_model(copy, admit=refuse)
    assert told == [directory_digest(copy)]


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin",
        "x.pt",
        "x.PTH",
        "x.ckpt",
        "x.pickle",
        "x.pkl",
        "modeling_own.py",
        "2_Dense/pytorch_model.bin",
    ],
)
@pytest.mark.parametrize("load", [load_causal_model, load_embedder])
def test_pickled_weights_and_code_are_refused(copy: Path, name: str, load: Callable[[Path | str], object]) -> None:
    """They may lie at any depth and need not be what would be loaded: SF131 names the file."""
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_bytes(b"")
    refused(copy, name.rpartition("/")[2], load=load)


def test_a_directory_without_safetensors_is_refused(copy: Path) -> None:
    """SF131 says what was expected."""
    (copy / "model.safetensors").unlink()
    refused(copy, "safetensors weights were expected")


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    """A path is not taken for a hub name."""
    refused(tmp_path / "nowhere", "neither a directory nor a model")


@pytest.mark.parametrize("name", ["someone/some-model", "someone/some-model@abc", "not a name at all"])
def test_a_hub_name_that_is_not_in_the_cache_is_refused_offline(name: str) -> None:
    """With hub access off nothing is asked; SF131 at once."""
    refused(name, "neither a directory nor a model")


def test_a_hub_name_is_found_in_the_cache(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was downloaded before serves without a network, at the revision that is asked for."""
    asked: list[tuple[str, str | None]] = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download",
        lambda name, *, revision, allow_patterns: asked.append((name, revision)) or str(copy),
    )
    assert find_model("someone/model@main") == copy
    assert find_model("someone/model") == copy
    assert asked == [("someone/model", "main"), ("someone/model", None)]


@pytest.mark.parametrize("size", [0, 7, 5000])
def test_cut_weights_are_refused(copy: Path, size: int) -> None:
    """A download that broke off is SF131, not a traceback."""
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    refused(copy, "cannot load")


def test_missing_weights_are_refused(copy: Path) -> None:
    """Nothing is made up for a weight that the file lacks."""
    weights = load_file(copy / "model.safetensors")
    weights.pop("model.layers.1.mlp.down_proj.weight")
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    refused(copy, "lacks weights.*down_proj")


@pytest.mark.parametrize("content", ["{", "{}", '{"model_type": "no-such-type"}'])
def test_an_unknown_configuration_is_refused(copy: Path, content: str) -> None:
    """Not JSON, without a type, of an unknown type: SF131."""
    (copy / "config.json").write_text(content)
    refused(copy, "cannot load")


def test_code_that_a_configuration_names_is_not_run(copy: Path) -> None:
    """A configuration that points to its authors' code for an unknown type is refused."""
    document = json.loads((copy / "config.json").read_text())
    document |= {"model_type": "own", "auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}}
    (copy / "config.json").write_text(json.dumps(document))
    refused(copy, "cannot load")


def test_a_model_of_another_shape_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """GPT-2 loads but cannot be split: SF132 says what was expected and what was found."""
    config = GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=tiny.VOCABULARY, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(
        ConfigurationError, match=r"decoder-only model with .* was expected, found GPT2LMHeadModel"
    ) as caught:
        tiny.local(tmp_path)
    assert caught.value.code == "SF132"


@pytest.mark.parametrize("damage", ["flip", "remove", "add", "rename", "link", "linked directory"])
def test_any_change_of_a_directory_changes_its_digest(copy: Path, tmp_path: Path, damage: str) -> None:
    """Content and names count; a link, also one to a directory, counts as what it leads to."""
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file").write_bytes(b"one")
    (copy / "near").symlink_to(tmp_path / "far")
    (copy / "file").symlink_to(tmp_path / "far" / "file")
    before, weights = directory_digest(copy), copy / "model.safetensors"
    match damage:
        case "flip":
            weights.write_bytes(weights.read_bytes()[:-1] + b"!")
        case "remove":
            weights.unlink()
        case "add":
            (copy / "extra").write_bytes(b"")
        case "rename":
            weights.rename(copy / "model2.safetensors")
        case "link":
            (copy / "file").unlink()
            (copy / "file").symlink_to(weights)
        case "linked directory":
            (tmp_path / "far" / "more").write_bytes(b"")
    assert directory_digest(copy) != before


def test_links_that_lead_in_a_circle_end(copy: Path) -> None:
    """A circle is an error, not an endless walk."""
    (copy / "again").symlink_to(copy)
    (copy / "also").symlink_to(copy)
    with pytest.raises(OSError, match="symbolic links"):
        directory_digest(copy)


def test_the_digest_of_links_is_that_of_files(copy: Path, tmp_path: Path) -> None:
    """A hub's cache, which links to its blobs, has the digest of the plain directory."""
    (tmp_path / "linked").mkdir()
    for file in copy.iterdir():
        (tmp_path / "linked" / file.name).symlink_to(file)
    assert directory_digest(tmp_path / "linked") == directory_digest(copy)
