"""RFC 6962 trees: public vectors, and every figure against a naive recomputation."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.audit import merkle
from semfed_secure.audit.merkle import EMPTY_ROOT, Frontier, leaf_hash, node_hash
from semfed_secure.errors import PeerError

VECTORS = json.loads((Path(__file__).parent / "assets" / "rfc6962_proofs.json").read_text())

# Entries and tree hashes of sizes 0 to 8 that Certificate Transparency's implementations share.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(naive_root(leaves[:split]), naive_root(leaves[split:]))


def tree(size: int) -> tuple[list[bytes], dict[merkle.Place, bytes], Frontier]:
    """Leaves, all complete subtrees and the frontier of a tree of ``size`` entries."""
    leaves = [leaf_hash(number.to_bytes(4, "big")) for number in range(size)]
    frontier, hashes = Frontier(), {}
    for number, leaf in enumerate(leaves):
        hashes[0, number] = leaf
        hashes.update(frontier.add(leaf))
    return leaves, hashes, frontier


def _decode(values: list[str] | None) -> list[bytes]:
    return [base64.b64decode(value) for value in values or []]


@pytest.mark.parametrize("name", VECTORS["inclusion"])
def test_public_inclusion_vectors(name: str) -> None:
    """Every public inclusion proof is accepted or refused as its file says."""
    vector = VECTORS["inclusion"][name]
    leaf, root = _decode([vector["leafHash"], vector["root"]])

    def verify() -> int:
        return merkle.verify_inclusion(
            leaf, index=vector["leafIdx"], size=vector["treeSize"], proof=_decode(vector["proof"]), root=root
        )

    if vector["wantErr"]:
        with pytest.raises(PeerError) as caught:
            verify()
        assert caught.value.code == "SF328"
    else:
        assert verify() == vector["leafIdx"]


@pytest.mark.parametrize("name", VECTORS["consistency"])
def test_public_consistency_vectors(name: str) -> None:
    """Every public consistency proof is accepted or refused as its file says."""
    vector = VECTORS["consistency"][name]
    old_root, new_root = _decode([vector["root1"], vector["root2"]])
    sizes = vector["size1"], vector["size2"]

    def verify() -> tuple[int, int]:
        return merkle.verify_consistency(
            old_size=sizes[0], old_root=old_root, new_size=sizes[1], new_root=new_root, proof=_decode(vector["proof"])
        )

    # One public vector compares two equal strings that are no hashes; we take roots of 32 bytes only.
    if vector["wantErr"] or len(old_root) != merkle.HASH_BYTES:
        with pytest.raises(PeerError) as caught:
            verify()
        assert caught.value.code == "SF328"
    else:
        assert verify() == sizes


def test_public_roots() -> None:
    """Trees of the shared entries have the shared hashes at every size."""
    frontier = Frontier()
    roots = [frontier.root().hex()]
    for leaf in LEAVES:
        frontier.add(leaf_hash(bytes.fromhex(leaf)))
        roots.append(frontier.root().hex())
    assert roots == ROOTS


@given(st.integers(0, 200))
def test_root_is_the_tree_hash_of_all_entries(size: int) -> None:
    """After any sequence of `add`, `root` is the RFC 6962 tree hash of all entries added."""
    leaves, _, frontier = tree(size)
    assert frontier.root() == naive_root(leaves)
    assert Frontier.parse(size, frontier.encode()).root() == frontier.root()


@given(st.integers(1, 200), st.data())
def test_every_completed_subtree_is_right(size: int, data: st.DataObject) -> None:
    """What `add` reports as complete is the tree hash of exactly the entries it covers."""
    leaves, hashes, _ = tree(size)
    level, position = data.draw(st.sampled_from(sorted(hashes)))
    assert hashes[level, position] == naive_root(leaves[position << level : (position + 1) << level])
    assert len(hashes) == sum(size >> level for level in range(size.bit_length()))


@given(st.integers(1, 200), st.data())
def test_inclusion_proofs_hold_for_their_entry_only(size: int, data: st.DataObject) -> None:
    """A made proof verifies for its entry, and for no other entry, index, size, root or path."""
    leaves, hashes, frontier = tree(size)
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.prove(merkle.inclusion_ranges(index, size), hashes)
    good = {"index": index, "size": size, "proof": proof, "root": frontier.root()}
    assert merkle.verify_inclusion(leaves[index], **good) == index
    changes = [{"root": naive_root([*leaves, leaves[0]])}, {"proof": (*proof, leaves[0])}, {"root": b""}]
    changes += [{"index": other} for other in range(-1, size + 1) if other != index]
    changes += [{"proof": proof[:-1]}, {"proof": (*proof[:-1], leaf_hash(b"x"))}] if proof else []
    for change in changes:
        with pytest.raises(PeerError, match="inclusion proof"):
            merkle.verify_inclusion(leaves[index], **(good | change))
    with pytest.raises(PeerError, match="inclusion proof"):
        merkle.verify_inclusion(leaf_hash(b"x"), **good)


@given(st.integers(0, 200), st.data())
def test_consistency_proofs_hold_for_their_trees_only(new: int, data: st.DataObject) -> None:
    """A made proof shows that the new tree begins with the old one, and shows nothing about any other tree."""
    old = data.draw(st.integers(0, new))
    leaves, hashes, frontier = tree(new)
    proof = merkle.prove(merkle.consistency_ranges(old, new), hashes)
    good = {
        "old_size": old,
        "old_root": naive_root(leaves[:old]),
        "new_size": new,
        "new_root": frontier.root(),
        "proof": proof,
    }
    assert merkle.verify_consistency(**good) == (old, new)
    changes = [{"old_root": leaf_hash(b"x")}, {"proof": (*proof, leaf_hash(b"x"))}, {"old_size": new + 1}]
    changes += [{"new_root": leaf_hash(b"x")}] if old else []
    changes += [{"proof": proof[:-1]}, {"proof": (*proof[:-1], leaf_hash(b"x"))}] if proof else []
    for change in changes:
        with pytest.raises(PeerError, match="consistency proof"):
            merkle.verify_consistency(**(good | change))


def test_a_changed_entry_has_no_consistency_proof() -> None:
    """If one entry of the old tree changed, the honest proof of the new tree does not verify."""
    leaves, _, _ = tree(20)
    old_root = naive_root(leaves[:11])
    leaves[7] = leaf_hash(b"rewritten")
    frontier, hashes = Frontier(), {(0, number): leaf for number, leaf in enumerate(leaves)}
    for leaf in leaves:
        hashes.update(frontier.add(leaf))
    proof = merkle.prove(merkle.consistency_ranges(11, 20), hashes)
    with pytest.raises(PeerError):
        merkle.verify_consistency(old_size=11, old_root=old_root, new_size=20, new_root=frontier.root(), proof=proof)


@pytest.mark.parametrize(("size", "data"), [(-1, b""), (1, b""), (3, b"x" * 32), (1, b"x" * 31), (2**63, b"x" * 32)])
def test_a_frontier_of_another_size_is_refused(size: int, data: bytes) -> None:
    """A frontier has one hash for each binary one of its size."""
    with pytest.raises(ValueError, match="frontier"):
        Frontier.parse(size, data)


def test_impossible_ranges_are_refused() -> None:
    """Proofs exist for entries inside the tree and for sizes in order."""
    for index, size in ((0, 0), (5, 5), (-1, 5)):
        with pytest.raises(ValueError, match="not in a log"):
            merkle.inclusion_ranges(index, size)
    for old, new in ((-1, 4), (5, 4)):
        with pytest.raises(ValueError, match="cannot extend"):
            merkle.consistency_ranges(old, new)


def test_the_empty_tree() -> None:
    """The empty tree has the hash of nothing, and everything extends it."""
    assert Frontier().root() == EMPTY_ROOT
    assert merkle.verify_consistency(old_size=0, old_root=EMPTY_ROOT, new_size=0, new_root=EMPTY_ROOT, proof=()) == (
        0,
        0,
    )
