"""`semfed prompts`: review and decide at the command line, its codes, and the public data where it lies at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure import cli
from semfed_secure.testing import SiteSettings
from semfed_secure.wire.prompts import encode_prompt_set
from tests.client.world import CANDIDATES, PROMPTS, World, records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BANK = Path(__file__).parents[3] / "shared/data/bank_small"


class Desk:
    """A site whose officer sits at a terminal."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Found the federation and write the site's records."""
        self.world, self._capsys = World(directory), capsys
        self.records(
            [{"entity_id": r.entity_id, "prompt": r.prompt, "completion": r.completion} for r in records("bay")]
        )
        self.config = self.site(data={"records": "records.jsonl"})

    def records(self, rows: Sequence[dict[str, str]]) -> None:
        """Replace the site's records."""
        path = self.world.federation.site("bay") / "records.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def prompts(self, name: str, texts: Sequence[str]) -> str:
        """A prompt set as an operator sends it."""
        path = self.world.directory / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"id": f"p{n}", "prompt": text}) + "\n" for n, text in enumerate(texts)))
        return str(path)

    def site(self, **sections: Any) -> str:
        """The site file."""
        return str(self.world.federation.site_file("bay", SiteSettings(sections=sections)))

    def run(self, *arguments: str) -> tuple[int, Any]:
        """Exit code and JSON document of one command."""
        code = cli.main(["prompts", *arguments, "--config", self.config, "--json"])
        (line,) = self._capsys.readouterr().out.splitlines()
        return code, json.loads(line)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    """A site at its first review."""
    made = Desk(tmp_path, capsys)
    yield made
    made.world.federation.close()


def test_a_review_and_a_decision(desk: Desk) -> None:
    """A set as JSON lines and as the bytes of the wire has one digest; a decision follows a review, never alone."""
    encoded = desk.world.directory / "triage.cbor"
    encoded.write_bytes(encode_prompt_set(PROMPTS))
    code, refused = desk.run("decide", f"sha256:{PROMPTS.digest.hex()}", "--role", "officer", "--approve", "Sam")
    assert (code, refused["error"]["code"]) == (2, "SF102")
    code, report = desk.run("review", str(encoded))
    assert (code, report["prompt_set"]["digest"]) == (0, f"sha256:{PROMPTS.digest.hex()}")
    near = {row["id"]: row["nearest"]["words"] for row in report["prompts"]}
    assert near["p0"] == {"value": 1.0, "record_line": 1, "records_near": 7, "candidate": None}
    lines = desk.prompts("triage", [prompt.text for prompt in PROMPTS.prompts])
    labels = [part for label in CANDIDATES for part in ("--candidate", label)]
    assert desk.run("review", lines, *labels)[1]["prompt_set"]["digest"] == report["prompt_set"]["digest"]
    code, decided = desk.run("decide", report["prompt_set"]["digest"], "--role", "officer", "--approve", "Sam")
    assert (code, decided["decision"], decided["by"], decided["granted_by_policy"]) == (0, "approved", "Sam", True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["review", "nowhere.jsonl"], "SF102"),
        (["review", "{cbor}"], "SF104"),
        (["review", "{cbor}", "--name", "x"], "SF101"),
        (["decide", "sha256:1", "--role", "officer", "--approve", "Sam"], "SF105"),
        (["decide", "{digest}", "--role", "officer"], "SF101"),
        (["decide", "{digest}", "--role", "officer", "--approve", "Sam", "--refuse", "Sam"], "SF101"),
    ],
    ids=["no file", "no prompt set", "a name twice", "no digest", "no decision", "two decisions"],
)
def test_what_cannot_be_reviewed_or_decided_is_refused(desk: Desk, arguments: list[str], code: str) -> None:
    """Exit 2 with the code, and nothing is decided."""
    broken = desk.world.directory / "broken.cbor"
    broken.write_bytes(b"\xa0")
    filled = [part.format(cbor=broken, digest=f"sha256:{'0' * 64}") for part in arguments]
    status, document = desk.run(*filled)
    assert (status, document["error"]["code"]) == (2, code)


def test_a_site_without_records_says_so(desk: Desk) -> None:
    """Neither the option nor the site file names records: SF101."""
    desk.config = desk.site()
    status, document = desk.run("review", desk.prompts("triage", ["a question"]))
    assert (status, document["error"]["code"]) == (2, "SF101")


@pytest.mark.skipif(not BANK.is_dir(), reason="the public data does not lie beside this checkout")
def test_prompts_cut_from_real_messages_are_found_among_real_questions(desk: Desk) -> None:
    """Of ten messages of bank customers, cut and changed, nine stand in the first third of 108 prompts."""
    rows = [json.loads(line) for line in (BANK / "train.jsonl").read_text().splitlines()]
    desk.records(
        [{"entity_id": f"c{n}", "prompt": row["text"], "completion": row["intent"]} for n, row in enumerate(rows)]
    )
    public = [json.loads(line)["prompt"] for line in (BANK / "public_prompts.jsonl").read_text().splitlines()]
    long = [row["text"].split() for row in rows if len(row["text"].split()) >= 15][:10]
    cut = [" ".join("customer" if at % 7 == 3 else word for at, word in enumerate(words[:-3])) for words in long]
    code, report = desk.run("review", desk.prompts("bank", [*public, *cut]))
    assert (code, len(report["prompts"])) == (0, 108)
    first = [int(row["id"].removeprefix("p")) for row in report["prompts"][:36]]
    assert sum(place >= len(public) for place in first) >= 9
