"""The example's data keeps its promises, and the reader holds any data directory to the same."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from semfed_secure.demo.data import FederationData
from semfed_secure.errors import ConfigurationError
from semfed_secure.policy.compose import load_policy

BUILDER = Path(__file__).parents[2] / "examples" / "hospital_coding" / "build.py"


@pytest.fixture(scope="module")
def builder():
    """The example's script, loaded from its file."""
    spec = importlib.util.spec_from_file_location("hospital_build", BUILDER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["hospital_build"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def small(builder, tmp_path_factory) -> Path:
    """A small federation's data."""
    directory = tmp_path_factory.mktemp("data") / "hospital"
    builder.build(directory, seed=1, small=True)
    return directory


@pytest.fixture
def copy(small, tmp_path) -> Path:
    """A copy that a test may damage."""
    import shutil

    return Path(shutil.copytree(small, tmp_path / "copy"))


def test_no_public_phrase_stands_anywhere_else(builder, small) -> None:
    """Prompts, validation, held-out and records share no phrase, whatever its case and punctuation."""
    data = FederationData(small)
    public = [[builder.normalised(row.text) for row in rows] for rows in (data.prompts, data.validation, data.heldout)]
    private = {builder.normalised(row.text) for rows in data.records.values() for row in rows}
    everything = [text for texts in public for text in texts]
    assert len(everything) == len(set(everything)) == 60 + 60 + 200
    assert not private & set(everything)


def test_no_hospital_has_a_record_of_what_it_lacks(builder, small) -> None:
    """Blindness is real: not one record; and of the few, few."""
    data = FederationData(small)
    for site in data.description.sites:
        labels = [row.label for row in data.records[site.id]]
        assert not set(labels) & set(site.missing)
        assert all(labels.count(few) == builder.SMALL.few for few in site.few)


def test_every_department_is_lacking_somewhere_and_known_by_most(builder) -> None:
    """Otherwise there would be nothing to learn, or nobody to learn it from."""
    honest = builder.HOSPITALS[:5]
    for label in builder.DEPARTMENTS.values():
        assert sum(label in hospital.missing for hospital in honest) == 1


def test_some_patients_have_two_records_and_none_has_more(small) -> None:
    """The privacy unit is the patient, so the data must hold patients with several records."""
    for rows in FederationData(small).records.values():
        ids = [row.entity_id for row in rows]
        assert max(map(ids.count, ids)) == 2


def test_the_same_seed_writes_the_same_bytes(builder, small, tmp_path) -> None:
    """A result can be reproduced; another seed gives other data."""

    def contents(directory: Path) -> dict[str, bytes]:
        return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}

    builder.build(tmp_path / "again", seed=1, small=True)
    builder.build(tmp_path / "other", seed=2, small=True)
    assert contents(tmp_path / "again") == contents(small)
    assert contents(tmp_path / "other") != contents(small)


def test_the_policy_of_the_example_loads_below_its_pack(small) -> None:
    """What the hospitals run under is a valid leaf of the shipped ceiling."""
    assert load_policy(small / "policy.yaml").id == "hospital-coding"


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("heldout.jsonl", {"id": "h", "text": "x", "label": "astrology"}, "`astrology` is not among the candidates"),
        ("heldout.jsonl", {"id": "h", "text": "", "label": "digestive"}, "heldout.jsonl line 1: text: "),
        ("heldout.jsonl", {"text": "x", "diagnosis": "y"}, "heldout.jsonl line 1: diagnosis: "),
        ("sites/st-mary/train.jsonl", {"text": "x", "label": "digestive"}, "each with an `entity_id`"),
        ("sites/st-mary/train.jsonl", {"entity_id": "e", "text": "x", "label": "congenital"}, "should lack"),
    ],
)
def test_data_that_is_not_valid_is_refused_by_name(copy, file, line, message) -> None:
    """SF104 with the file, the line and the field, never the value of a record's text."""
    (copy / file).write_text(json.dumps(line) + "\n")
    with pytest.raises(ConfigurationError, match=message) as caught:
        FederationData(copy)
    assert caught.value.code == "SF104"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("validation.jsonl", "\n", "validation.jsonl: at least one row"),
        ("candidates.json", "[" * 100_000, "candidates.json: not JSON"),
        ("policy.yaml", "a: [", "policy.yaml: a policy whose `grants.datasets` grants"),
        ("policy.yaml", "grants: {datasets: [{id: other, population: p}]}", "grants `synthetic-icd10cm-phrases`"),
    ],
)
def test_files_that_carry_nothing_are_refused_by_name(copy, file, content, message) -> None:
    """SF104 before anything is started: a check that checks nothing would keep whatever is learned."""
    (copy / file).write_text(content)
    with pytest.raises(ConfigurationError, match=re.escape(message)) as caught:
        FederationData(copy)
    assert caught.value.code == "SF104"


def test_a_site_with_more_entities_than_the_public_bound_is_refused(copy) -> None:
    """SF104: the noise is scaled by the bound, which therefore may not follow the records."""
    described = json.loads((copy / "federation.json").read_text())
    (copy / "federation.json").write_text(json.dumps(described | {"population_bound": 100}))
    with pytest.raises(ConfigurationError, match="population_bound") as caught:
        FederationData(copy)
    assert caught.value.code == "SF104"


def test_texts_may_hold_any_letter_and_a_file_may_begin_with_a_mark(copy) -> None:
    """Line separators other than the newline belong to the text; a byte order mark to the file."""
    row = {"id": "v", "text": "a\u2028b\u0085c", "label": "digestive"}
    (copy / "validation.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8-sig")
    assert [row.text for row in FederationData(copy).validation] == ["a\u2028b\u0085c"]


def test_a_missing_file_is_named(copy) -> None:
    """SF102 with the path."""
    (copy / "validation.jsonl").unlink()
    with pytest.raises(ConfigurationError, match=r"validation\.jsonl") as caught:
        FederationData(copy)
    assert caught.value.code == "SF102"


BOX = {"model": "look-up", "mechanism": "record_histogram", "epsilon": "4", "delta": "1e-6"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": ["votes", "poem"]}, r"federation\.json: rounds\.1: "),
        ({"rounds": ["text"], "templates": {"votes": "{text}"}}, "a round of `text` needs its template"),
        ({"black_box": BOX}, "black boxes release votes and nothing else"),
        ({"black_box": BOX | {"epsilon": 4.0}, "rounds": ["votes"]}, "black_box.epsilon: .*decimal in quotes"),
        ({"black_box": BOX | {"mechanism": "dp_sgd"}, "rounds": ["votes"]}, "black_box.mechanism: "),
        ({"black_box": BOX | {"epsilon": "0"}, "rounds": ["votes"]}, "black_box.epsilon: "),
    ],
)
def test_a_description_that_no_run_could_follow_is_refused(copy, changes, message) -> None:
    """SF104 by field: rounds that cannot be asked, black boxes that would train or write."""
    file = copy / "federation.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(ConfigurationError, match=message) as caught:
        FederationData(copy)
    assert caught.value.code == "SF104"


def test_an_endpoint_belongs_to_a_black_box(copy) -> None:
    """Otherwise the demo would train a model and ask another."""
    file = copy / "federation.json"
    description = json.loads(file.read_text())
    description["sites"][0]["endpoint"] = "http://127.0.0.1:8301/v1"
    file.write_text(json.dumps(description))
    with pytest.raises(ConfigurationError, match="is that of a black box"):
        FederationData(copy)
    file.write_text(json.dumps(description | {"black_box": BOX, "rounds": ["votes"]}))
    assert FederationData(copy).description.sites[0].endpoint == "http://127.0.0.1:8301/v1"
