"""The verifier for auditors who trust none of our code: short, apart from us, and of one mind with ours."""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from semfed_secure.audit import notes
from semfed_secure.audit.proofs import make_proof
from semfed_secure.audit.sources import open_source
from semfed_secure.crypto.log_keys import LogSigningKey
from tests.audit.exports import SCRIPT, export, independently
from tests.audit.intruder import bodies_of, forge, rebuild
from tests.audit.samples import SIZE, Site, sample

if TYPE_CHECKING:
    from types import ModuleType

VECTORS = json.loads((Path(__file__).parent / "assets" / "rfc6962_proofs.json").read_text())
WITNESS = LogSigningKey("hospitals.example/east", b"\x05" * 32, b"\x06" * 32)


def test_it_is_short_and_imports_nothing_of_ours() -> None:
    """Under 300 lines, the standard library and `cryptography`."""
    source = SCRIPT.read_text(encoding="utf-8")
    assert len(source.splitlines()) < 300
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(source))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - set(sys.stdlib_module_names) == {"cryptography"}


@pytest.mark.parametrize("size", [0, 1, 256, 520])
def test_whole_logs_verify_as_tiles_and_as_a_database(site: Site, tmp_path: Path, size: int) -> None:
    """Whatever the shape of the tree; the verdict counts the entries."""
    if size:
        site.log.append_all([sample(number) for number in range(size)])
    (tmp_path / "key").write_text(site.vkey)
    for place in (export(site, tmp_path / "export"), site.path):
        status, said = independently(place, "--key", tmp_path / "key")
        assert (status, said.split(",")[0]) == (0, f"VERIFIED: {size} entries")


def test_a_key_for_ed25519_alone_is_enough_and_the_rest_is_named_as_unchecked(full: Site, tmp_path: Path) -> None:
    """What this auditor cannot check is said, not passed over."""
    status, said = independently(export(full, tmp_path / "export"), "--key", full.vkey.split(",")[0])
    assert status == 0
    assert "not checked: a signature of hospitals.example/north" in said


def test_what_is_no_key_is_called_so(full: Site, tmp_path: Path) -> None:
    """A document pasted in its place, or half of a key."""
    for text in ('{"verified": true, "key": "a+b"}', "north+4a391b3b"):
        status, said = independently(export(full, tmp_path / str(len(text))), "--key", text)
        assert (status, "no verification key" in said) == (1, True)


def test_another_key_is_refused(full: Site, tmp_path: Path) -> None:
    """The key that the auditor holds decides."""
    other = LogSigningKey.generate(full.key.name).public.encode()
    status, said = independently(export(full, tmp_path / "export"), "--key", other)
    assert (status, said.split(":")[0]) == (1, "NOT VERIFIED")


def test_a_rewritten_log_is_refused_by_who_kept_a_checkpoint(full: Site, tmp_path: Path) -> None:
    """Set back, forked or signed again under a stolen key: the older checkpoint tells."""
    kept = tmp_path / "kept"
    kept.write_text(full.log.checkpoint())
    bodies = bodies_of(full)
    rebuild(full, bodies[:200], signer=full.key)
    assert independently(full.path, "--key", full.vkey)[0] == 0
    status, said = independently(full.path, "--key", full.vkey, "--known", kept)
    assert (status, "set back" in said) == (1, True)
    rebuild(full, [*bodies[:3], forge(bodies[3]), *bodies[4:]], signer=full.key)
    status, said = independently(full.path, "--key", full.vkey, "--known", kept)
    assert (status, "another history" in said) == (1, True)


def test_witnesses_must_vouch_where_they_are_named(full: Site, tmp_path: Path) -> None:
    """With their cosignature it verifies; a log signed again with a stolen key lacks it, and is refused."""
    directory = export(full, tmp_path / "export")
    arguments = (directory, "--key", full.vkey, "--witness", WITNESS.public.encode())
    status, said = independently(*arguments)
    assert (status, "1 witnesses vouch for the first 0 entries" in said) == (1, True)
    note = (directory / "checkpoint").read_text()
    tree = notes.parse_checkpoint(notes.parse_note(note).text)
    (directory / "checkpoint").write_text(note + notes.cosign(tree, WITNESS, at=1).line)
    assert independently(*arguments)[0] == 0
    forged = note + notes.cosign(notes.Checkpoint(tree.origin, tree.size, bytes(32)), WITNESS, at=1).line
    (directory / "checkpoint").write_text(forged)
    assert independently(*arguments)[0] == 1


def test_a_proof_file_verifies_with_and_without_its_log(full: Site, tmp_path: Path) -> None:
    """One entry in one file; any other entry, number or path in it is refused."""
    with open_source(full.path) as source:
        text = make_proof(source, 17, full.key.public)
    path = tmp_path / "17.tlog-proof"
    path.write_text(text)
    for place in ((), (full.path,)):
        status, said = independently(*place, "--key", full.vkey, "--proof", path)
        assert (status, "proves entry 17 of 256" in said, "VERIFIED" in said) == (0, True, True)
    lines = text.split("\n")
    other = "extra " + base64.b64encode(bodies_of(full)[18]).decode()
    for changed in (text.replace("index 17", "index 16"), text.replace(lines[1], other), text.replace(lines[4], "")):
        path.write_text(changed)
        status, said = independently("--key", full.vkey, "--proof", path)
        assert (status, "NOT VERIFIED" in said) == (1, True)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module, for its one function that public vectors exist for."""
    spec = importlib.util.spec_from_file_location("verify_log", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", VECTORS["inclusion"])
def test_public_inclusion_vectors(script: ModuleType, name: str) -> None:
    """Every public inclusion proof is accepted or refused as its file says."""
    vector = VECTORS["inclusion"][name]
    texts = [vector["leafHash"], vector["root"], *(vector["proof"] or [])]
    leaf, root, *path = map(base64.b64decode, texts)
    try:
        holds = script.root_from_path(leaf, vector["leafIdx"], vector["treeSize"], path) == root
    except ValueError:
        holds = False
    assert holds is not vector["wantErr"]


def test_reading_changes_nothing(full: Site, tmp_path: Path) -> None:
    """Not a byte of the database is written."""
    full.database.close()
    copy = tmp_path / "copy.db"
    shutil.copy(full.path, copy)
    copy.chmod(0o400)
    assert independently(copy, "--key", full.vkey)[0] == 0
    assert copy.read_bytes() == full.path.read_bytes()
    assert len(bodies_of(full)) == SIZE


def test_without_ml_dsa_it_says_what_it_cannot_check(
    script: ModuleType, full: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An older `cryptography`: the Ed25519 signature decides, the other one is named, and no witness counts by it."""
    keys, witnesses = script.read_keys([full.vkey]), script.read_keys([WITNESS.public.encode()])
    tree = notes.parse_checkpoint(notes.parse_note(note := full.log.checkpoint()).text)
    note += notes.cosign(tree, WITNESS, at=1).line
    assert script.read_checkpoint(note, keys, witnesses, "it").vouching == {WITNESS.name}
    monkeypatch.setattr(script, "MLDSA44PublicKey", None)
    assert script.read_checkpoint(note, keys, witnesses, "it").vouching == set()
    assert f"not checked: a signature of {full.key.name} under it" in capsys.readouterr().out
    with pytest.raises(ValueError, match="not signed by the log's Ed25519 key"):
        script.read_checkpoint(note, keys[1:], witnesses, "it")


def test_witnesses_of_others_sign_with_ed25519(script: ModuleType, full: Site) -> None:
    """The first form of the cosignature standard, which the public witness network speaks."""
    private = Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
    raw = b"\x04" + private.public_key().public_bytes_raw()
    name, text = "witness.example/w1", notes.parse_note(full.log.checkpoint()).text
    key_id = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    witness = script.read_keys([f"{name}+{key_id.hex()}+{base64.b64encode(raw).decode()}"])
    for stated, vouching in ((1_770_000_000, {name}), (1_770_000_001, None)):
        signature = private.sign(f"cosignature/v1\ntime 1770000000\n{text}".encode())
        line = notes.NoteSignature(name, key_id, stated.to_bytes(8, "big") + signature).line
        note = full.log.checkpoint() + line
        if vouching is None:
            with pytest.raises(ValueError, match="is not good"):
                script.read_checkpoint(note, script.read_keys([full.vkey]), witness, "it")
        else:
            assert script.read_checkpoint(note, script.read_keys([full.vkey]), witness, "it").vouching == vouching
