"""Each way of tampering with a log has a code of its own, and a sentence that a compliance officer can act on."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from semfed_secure.audit import notes
from semfed_secure.audit.verify import verify_log
from semfed_secure.audit.vouched import Witnesses
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import CATALOGUE, IntegrityError
from semfed_secure.storage.cosignature_rows import CosignatureRow, put_cosignature
from tests.audit.corruptions import CORRUPTIONS, corrupted
from tests.audit.exports import export, independently
from tests.audit.intruder import bodies_of, forge, rebuild, sql
from tests.audit.large_log import KEY
from tests.audit.samples import SIZE, Site, sample

if TYPE_CHECKING:
    from collections.abc import Callable

EXPORTED = {
    "entry flipped": "SF501",
    "entry length flipped": "SF518",
    "entry dropped": "SF508",
    "entries swapped": "SF509",
    "entry repeated": "SF510",
    "entry inserted twice": "SF510",
    "entries cut": "SF518",
    "end cut off": "SF512",
    "bundle dropped": "SF518",
    "bundles swapped": "SF509",
    "bundle repeated": "SF510",
    "tile flipped": "SF513",
    "upper tile flipped": "SF513",
    "tile cut": "SF518",
    "tile dropped": "SF518",
    "tiles swapped": "SF513",
    "checkpoint root exchanged": "SF503",
    "checkpoint size flipped": "SF503",
    "checkpoint signature flipped": "SF503",
    "checkpoint cut": "SF503",
    "checkpoint dropped": "SF518",
}
CELLS = "(leaf_hash, body) = (SELECT leaf_hash, body FROM log_entry AS other WHERE other.position ="
STORED = {
    "entry flipped": ("SF501", "UPDATE log_entry SET body = CAST(replace(body, 'north', 'south') AS BLOB)"),
    "entry dropped": ("SF508", "DELETE FROM log_entry WHERE position = 40"),
    "entry dropped, the rest moved up": (
        "SF508",
        "DELETE FROM log_entry WHERE position = 40",
        "UPDATE log_entry SET position = -position WHERE position > 40",
        "UPDATE log_entry SET position = -position - 1 WHERE position < 0",
    ),
    "entries swapped": (
        "SF509",
        "UPDATE log_entry SET position = -1 WHERE position = 40",
        "UPDATE log_entry SET position = 40 WHERE position = 41",
        "UPDATE log_entry SET position = 41 WHERE position = -1",
    ),
    "entry repeated": ("SF510", f"UPDATE log_entry SET {CELLS} 39) WHERE position = 40"),
    "later entry repeated": ("SF510", f"UPDATE log_entry SET {CELLS} 45) WHERE position = 40"),
    "end cut off": ("SF512", "DELETE FROM log_entry WHERE position > 260"),
    "entry added": ("SF514", "INSERT INTO log_entry SELECT 270, leaf_hash, body FROM log_entry WHERE position = 9"),
    "entry hash flipped": ("SF513", "UPDATE log_entry SET leaf_hash = zeroblob(32) WHERE position = 40"),
    "tree hash flipped": ("SF513", "UPDATE log_node SET hash = zeroblob(32) WHERE level = 3 AND position = 2"),
    "tree hash dropped": ("SF513", "DELETE FROM log_node WHERE level = 3 AND position = 2"),
    "tree hash added": ("SF513", "INSERT INTO log_node VALUES (1, 999, zeroblob(32))"),
    "head flipped": ("SF513", "UPDATE log_head SET frontier = zeroblob(length(frontier))"),
    "newest checkpoint flipped": ("SF503", "UPDATE log_head SET checkpoint = replace(checkpoint, '270', '269')"),
    "newest checkpoint exchanged": ("SF514", "UPDATE log_head SET checkpoint = (SELECT note FROM log_checkpoint)"),
    "newest checkpoint cut": ("SF503", "UPDATE log_head SET checkpoint = substr(checkpoint, 1, 90)"),
    "checkpoint flipped": ("SF503", "UPDATE log_checkpoint SET note = replace(note, '256', '255')"),
    "checkpoint moved": ("SF517", "UPDATE log_checkpoint SET size = 200"),
    "checkpoint repeated": ("SF517", "INSERT INTO log_checkpoint SELECT 200, note FROM log_checkpoint"),
    "checkpoint dropped": ("SF516", "DELETE FROM log_checkpoint"),
    "log dropped": ("SF504", "DELETE FROM log_head"),
}
WITNESSES = tuple(LogSigningKey(f"hospitals.example/{name}", bytes([name]) * 32, b"\x08" * 32) for name in (5, 6))
VOUCHING = Witnesses.parse([key.public.encode() for key in WITNESSES], 2)


def refusal(place: Path, key: str, **more: object) -> IntegrityError:
    """The error that a log earns; its sentence says what was done, and its remedy what to do."""
    with pytest.raises(IntegrityError) as caught:
        verify_log(place, key=key, **more)  # type: ignore[arg-type]
    assert len(caught.value.message.split()) > 5
    assert len(caught.value.remedy.split()) > 5
    return caught.value


def test_every_corruption_of_an_export_is_expected_by_a_code() -> None:
    """What outside tools are held to, our own verifier tells apart."""
    assert EXPORTED.keys() == CORRUPTIONS.keys()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_what_was_done_to_an_export_has_its_code(small: Path, tmp_path: Path, name: str) -> None:
    """By our verifier a code, by the one that shares no code with us a refusal."""
    copy = corrupted(small, name, tmp_path)
    assert refusal(copy, KEY.public.encode()).code == EXPORTED[name]
    status, said = independently(copy, "--key", KEY.public.encode())
    assert (status, said.split(":")[0]) == (1, "NOT VERIFIED")


@pytest.mark.parametrize("name", STORED)
def test_what_was_done_to_a_database_has_its_code(full: Site, name: str) -> None:
    """The same for a site's own file; who trusts none of our code is told of all but what can be computed again."""
    code, *statements = STORED[name]
    sql(full, *statements)
    assert refusal(full.path, full.vkey).code == code
    status, said = independently(full.path, "--key", full.vkey)
    derived = name in {"tree hash flipped", "tree hash dropped", "tree hash added", "head flipped"}
    unseen = derived or name in {"checkpoint moved", "checkpoint repeated", "checkpoint dropped"}
    assert (status, said.split(":")[0]) == ((0, "VERIFIED") if unseen else (1, "NOT VERIFIED"))


def set_back(site: Site) -> tuple[str, str]:
    """An older backup is restored; others hold a newer checkpoint."""
    bodies = bodies_of(site)
    site.log.append_all([sample(1)] * 30)
    kept = site.log.checkpoint()
    rebuild(site, bodies, signer=site.key)
    return kept, "SF504"


def forked(site: Site) -> tuple[str, str]:
    """Two roots of one size were signed."""
    kept = site.log.checkpoint()
    bodies = bodies_of(site)
    rebuild(site, [*bodies[:-1], forge(bodies[-1])], signer=site.key)
    return kept, "SF505"


def rewritten(site: Site) -> tuple[str, str]:
    """A stolen key signed a changed past, and the log went on since."""
    kept = site.log.checkpoint()
    bodies = bodies_of(site)
    rebuild(site, [*bodies[:3], forge(bodies[3]), *bodies[4:]], signer=site.key)
    site.log.append(sample(2))
    site.log.checkpoint()
    return kept, "SF505"


@pytest.mark.parametrize("history", [set_back, forked, rewritten], ids=lambda history: history.__name__)
@pytest.mark.parametrize("form", ["database", "export"])
def test_another_history_under_the_true_key_is_found_by_a_kept_checkpoint(
    full: Site, tmp_path: Path, history: Callable[[Site], tuple[str, str]], form: str
) -> None:
    """It verifies alone, and not against what somebody else has kept: by us and by who trusts none of our code."""
    kept, code = history(full)
    place = full.path if form == "database" else export(full, tmp_path / "export")
    verify_log(place, key=full.vkey)
    assert refusal(place, full.vkey, known=[kept]).code == code
    (tmp_path / "kept").write_text(kept)
    assert independently(place, "--key", full.vkey)[0] == 0
    assert independently(place, "--key", full.vkey, "--known", tmp_path / "kept")[0] == 1


def cosign(site: Site) -> int:
    """Both witnesses cosign the newest checkpoint."""
    tree = notes.parse_checkpoint(notes.parse_note(site.log.checkpoint()).text)
    at = int(site.clock.now().timestamp())
    with site.database.transaction() as tx:
        for key in WITNESSES:
            put_cosignature(tx, CosignatureRow(tree.size, key.name, notes.cosign(tree, key, at=at).line, 1))
    return tree.size


def test_a_stolen_key_without_witnesses_is_found(full: Site) -> None:
    """Signed again as a whole, with the true key, and nobody kept anything: the witnesses' word is missing."""
    assert cosign(full) == SIZE
    assert verify_log(full.path, key=full.vkey, witnesses=VOUCHING).vouched_size == SIZE
    bodies = bodies_of(full)
    rebuild(full, [*bodies[:3], forge(bodies[3]), *bodies[4:]], signer=full.key)
    assert verify_log(full.path, key=full.vkey).vouched_size == 0
    error = refusal(full.path, full.vkey, witnesses=VOUCHING)
    assert (error.code, error.fields["size"]) == ("SF515", 0)
    assert "whoever stole it" in error.message


def test_witnesses_may_lag_for_as_long_as_their_word_counts(full: Site) -> None:
    """A few new entries are no alarm; a week without a cosignature is one."""
    size = cosign(full)
    full.clock.advance(6 * 86_400)
    full.log.append(sample(0))
    assert verify_log(full.path, key=full.vkey, witnesses=VOUCHING).vouched_size == size
    full.clock.advance(2 * 86_400)
    full.log.append(sample(0))
    assert refusal(full.path, full.vkey, witnesses=VOUCHING).code == "SF515"


def test_an_export_shows_its_witnesses_to_who_names_them(full: Site, tmp_path: Path) -> None:
    """Their lines are verified; a flipped one, and one of somebody who was not named, is refused."""
    directory = export(full, tmp_path / "export")
    note = (directory / "checkpoint").read_text()
    tree = notes.parse_checkpoint(notes.parse_note(note).text)
    lines = [notes.cosign(tree, key, at=int(full.clock.now().timestamp())).line for key in WITNESSES]
    (directory / "checkpoint").write_text(note + "".join(lines))
    assert verify_log(directory, key=full.vkey, witnesses=VOUCHING).vouched_size == SIZE
    assert refusal(directory, full.vkey).code == "SF503"
    (directory / "checkpoint").write_text(note + lines[0] + lines[1].replace("A", "B", 1))
    assert refusal(directory, full.vkey, witnesses=VOUCHING).code == "SF503"


def test_a_cosignature_in_the_database_that_is_none_vouches_for_nothing(full: Site) -> None:
    """Of another tree, or unreadable: the log is not damaged by it, and nobody vouches."""
    cosign(full)
    sql(full, "UPDATE log_cosignature SET line = 'nonsense' WHERE member_id LIKE '%5'")
    assert refusal(full.path, full.vkey, witnesses=VOUCHING).code == "SF515"
    verify_log(full.path, key=full.vkey)


def test_a_changed_file_next_to_a_log_harms_nobody(small: Path, tmp_path: Path) -> None:
    """What the standard does not name is not read."""
    copy = tmp_path / "copy"
    shutil.copytree(small, copy)
    (copy / "README").write_text("hello")
    verify_log(copy, key=KEY.public.encode())


def test_every_code_of_a_touched_log_is_explained_to_a_compliance_officer() -> None:
    """The table of the how-to has a row for each code that these tests met, and each code has a remedy."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "audit.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| (SF\d{3}) \|", page, flags=re.MULTILINE))
    met = {*EXPORTED.values(), *(row[0] for row in STORED.values()), "SF505", "SF506", "SF515"}
    assert met <= explained <= set(CATALOGUE)
    assert len(met) == 15
