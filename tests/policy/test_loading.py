"""The strict loader: every asset is named after its defect and refused for it; what is accepted means one thing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from semfed_secure.errors import ConfigurationError
from semfed_secure.policy.effective import document_digest
from semfed_secure.policy.loading import parse_document
from semfed_secure.policy.strict_yaml import MAX_BYTES, MAX_DEPTH, StrictYamlError, parse_yaml

ASSETS = Path(__file__).parent / "assets" / "documents"

# The defect, and what its refusal must say: the line where there is one, and the field or the word.
DEFECTS = {
    "alias.yaml": "line 9: alias *strict",
    "anchor.yaml": "line 9: anchor &strict",
    "approval-until-without-zone.yaml": "grants.approvals.0.until: input should have timezone info",
    "approval-without-prompts.yaml": "grants.approvals.0: an approval to join, release or learn names one prompt set",
    "budget-period-twice.yaml": "grants.datasets.0: budgets need one `lifetime` entry",
    "budget-without-lifetime.yaml": "grants.datasets.0: budgets need one `lifetime` entry",
    "data-set-twice.yaml": "grants: datasets are named once each",
    "date-without-quotes.toml": "effective.until",
    "date-without-quotes.yaml": "line 8: 2026-12-01",
    "default-allow.yaml": "line 5: default: input should be 'deny'",
    "default-missing.yaml": "default: field required",
    "delta-one.yaml": "limits.privacy.max_delta",
    "digest-too-short.yaml": "grants.prompts.0",
    "direction-override.yaml": "line 8: purpose",
    "directive.yaml": "line 1: directives",
    "duplicate-default.yaml": "line 8: key `default` stands twice",
    "duplicate-key.toml": "line 10",
    "duplicate-key.yaml": "line 10: key `data` stands twice",
    "empty-value.yaml": "line 9: an empty value",
    "empty.yaml": "the file is empty",
    "epsilon-not-a-number.yaml": "limits.privacy.max_epsilon: write it as a decimal in quotes",
    "epsilon-too-large.yaml": "limits.privacy.max_epsilon: input should be less than or equal to 100",
    "epsilon-zero.yaml": "limits.privacy.max_epsilon: input should be greater than 0",
    "exponent.yaml": "line 9: 1e-5",
    "float.toml": "limits.privacy.max_epsilon",
    "float.yaml": "line 9: 4.0",
    "hexadecimal.yaml": "line 9: 0x10",
    "id-with-spaces.yaml": "line 2: id",
    "infinity.yaml": "line 9: .inf",
    "list-at-top.yaml": "a mapping is expected",
    "merge-key.yaml": "line 9: <<",
    "misspelt-field.toml": "limits.data.min_entitiess: no such field",
    "misspelt-field.yaml": "line 9: limits.privacy.max_epsilonn: no such field",
    "misspelt-mechanism.yaml": "limits.privacy.mechanisms.0: input should be 'dp_sgd'",
    "negative-count.yaml": "limits.data.min_entities",
    "new-octal.yaml": "line 9: 0o17",
    "norway.yaml": "line 9: NO",
    "not-utf8.yaml": "utf-8",
    "null.yaml": "line 9: null",
    "number-as-text.yaml": "limits.data.min_entities: input should be a valid integer",
    "octal.yaml": "line 9: 017",
    "on-as-key.yaml": "line 8: on",
    "on-as-value.yaml": "line 9: on",
    "peer-without-keys.yaml": "grants.peers.0.signing_key_ids",
    "python-object-tag.yaml": "line 8: tags",
    "scalar-at-top.yaml": "a mapping is expected",
    "sexagesimal.yaml": "line 8: 12:30:00",
    "tag.yaml": "line 8: tags",
    "too-deep.yaml": f"line 8: nested deeper than {MAX_DEPTH}",
    "two-documents.yaml": "line 8: a second document",
    "unclosed.yaml": "line 9",
    "underscored-number.yaml": "line 9: 1_000",
    "unknown-format.yaml": "line 1: format",
    "version-of-two-parts.yaml": "line 3: version",
}


def test_every_asset_is_in_the_table() -> None:
    """No defect lies on disk without being tested."""
    assert {path.name for path in ASSETS.iterdir()} == {*DEFECTS, "valid.yaml", "valid.toml"}


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_a_defect_is_refused_by_name(name: str) -> None:
    """Each defective document is refused with SF111, its line where it has one, and the field or word."""
    with pytest.raises(ConfigurationError) as refusal:
        parse_document((ASSETS / name).read_bytes(), name=name)
    assert refusal.value.code == "SF111"
    assert refusal.value.message.startswith(name)
    assert DEFECTS[name] in refusal.value.message


def test_yaml_and_toml_say_the_same() -> None:
    """The same document in both syntaxes has the same digest."""
    documents = [parse_document((ASSETS / name).read_bytes(), name=name) for name in ("valid.yaml", "valid.toml")]
    assert document_digest(documents[0]) == document_digest(documents[1])


def test_the_digest_covers_meaning_not_layout() -> None:
    """Comments, order and quoting change nothing; a changed limit does."""
    text = (ASSETS / "valid.yaml").read_text()
    digests = [
        document_digest(parse_document(variant.encode(), name="x.yaml"))
        for variant in (text, "# reviewed\n" + text, text.replace('"4.0"', '"4.00"'), text.replace('"4.0"', '"4.1"'))
    ]
    assert digests[0] == digests[1] == digests[2]
    assert digests[0] != digests[3]


def test_all_problems_are_reported_at_once() -> None:
    """A person corrects a file once, not once for each mistake."""
    text = (ASSETS / "valid.yaml").read_text().replace("id: sample", "id: NOT A NAME").replace("owner:", "owners:")
    with pytest.raises(ConfigurationError) as refusal:
        parse_document(text.encode(), name="x.yaml")
    assert len(refusal.value.fields["problems"]) == 3  # id, owner missing, owners unknown


@pytest.mark.parametrize("excess", [0, 1])
def test_the_size_is_limited_before_parsing(excess: int) -> None:
    """A file of exactly the limit is read, one byte more is not."""
    text = (ASSETS / "valid.yaml").read_text()
    data = (text + "#" * (MAX_BYTES - len(text) + excess)).encode()
    if not excess:
        assert parse_document(data, name="x.yaml").id == "sample"
        return
    with pytest.raises(ConfigurationError, match="bytes are read"):
        parse_document(data, name="x.yaml")


WORDS = ["a", "b", "NO", "yes", "017", "1_0", "1e3", "1.5", "0", "-3", "true", "False", "~", "'q'", '"q"', "2026-01-01"]
MARKS = [
    ": ",
    ":\n  ",
    "\n",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "&x ",
    "*x",
    "!!int ",
    "# c\n",
    "|\n  ",
    "---\n",
    "? ",
    "=",
    "<<",
]
PIECES = st.sampled_from([*WORDS, *MARKS])


@settings(deadline=5000)  # generous, and yet far below what a scan of the whole nested example would take
@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=40))
@example("a: " + "[" * 100_000)
@example("\ufeffa: 1")
@example("a: 1\n...\n")
def test_what_is_accepted_means_one_thing(text: str) -> None:
    """Any text is refused by the loader's own error, or read exactly as a reader of YAML 1.1 reads it."""
    try:
        value = parse_yaml(text).value
    except StrictYamlError:
        return
    assert value == yaml.safe_load(text)


@given(st.binary(max_size=200), st.sampled_from(["x.yaml", "x.toml"]))
def test_any_bytes_are_a_document_or_a_coded_error(data: bytes, name: str) -> None:
    """Whatever a file holds, the loader answers with a document or with SF111."""
    with pytest.raises(ConfigurationError) as refusal:
        parse_document(data, name=name)
    assert refusal.value.code == "SF111"
