"""Nothing private is in what the parties of a federation log, export, report or certify about themselves.

Votes and texts, refusals, private training, learning, a review: everything private in it is marked,
and every output is searched for every mark in every encoding that we could think of. A search that finds nothing proves
nothing, so each kind of output is searched once more with each form of a mark planted.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import shutil
import subprocess
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from semfed_secure import cli
from semfed_secure.audit.events import EventType
from semfed_secure.audit.exporters.formats import FormatName
from semfed_secure.audit.sources import open_source
from semfed_secure.client.card.writing import write_card
from semfed_secure.client.config import load_site_config
from semfed_secure.client.review import review_prompts
from semfed_secure.client.reviews import record_verdict
from semfed_secure.clock import SystemRandomness
from semfed_secure.errors import ExitCode, SemfedError
from semfed_secure.ids import hex_digest
from semfed_secure.llm.model import Record
from semfed_secure.testing import TableModel
from semfed_secure.testing.federation import PASSPHRASE
from semfed_secure.units import OutputKind
from tests.client.world import (
    MEMBERS,
    OPEN_PROMPTS,
    PROMPTS,
    ROUND,
    TEXTS,
    TRUTH,
    UNSAFE,
    Words,
    World,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT_ROUND = "round-of-texts"
HOME = "Ondine Quillfeather"
REVIEWER, APPROVER = "Imogén Vantongeren", "Barnaby Thistlewaite"
PATIENT = "Zephyrine Oakenshield"
MARKED = {
    "record": f"{PATIENT} coughs quibbling sputum since Michaelmas",
    "answer of a record": "cinnabar-pleurisy",
    "entity": "mrn-7719-zephyrine",
    "patient": PATIENT,
    "own answer of bay": "quaint magenta xylophone",
    "own answer of hill": "brisk turquoise accordion",
    "withheld output": f"SSN 078-05-1120 of {PATIENT}",
    "reviewer": REVIEWER,
    "approver": APPROVER,
    "home": HOME,
    "canary": "kestrel harbour 7319",
    "passphrase": PASSPHRASE.decode(),
    "failure": "the record of Wilhelmina Featherstonehaugh overflowed",
}


def forms(text: str) -> dict[str, bytes]:
    """How a text may stand in a file: plain, and in every encoding that a careless program writes."""
    data = text.encode()
    found = {
        "plain": data,
        "lower": text.lower().encode(),
        "upper": text.upper().encode(),
        "hex": data.hex().encode(),
        "HEX": data.hex().upper().encode(),
        "utf-16-le": text.encode("utf-16-le"),
        "utf-16-be": text.encode("utf-16-be"),
        "percent": quote(text).encode(),
        "percent-all": "".join(f"%{byte:02X}" for byte in data).encode(),
        "json": json.dumps(text)[1:-1].encode(),
        "html": html.escape(text).encode(),
        "python": repr(text)[1:-1].encode(),
        "dashes": text.replace(" ", "-").lower().encode(),
        "underscores": text.replace(" ", "_").lower().encode(),
    }
    for shift in range(3):  # the middle of it, whatever stands before and after
        encoded = base64.b64encode(b"\0" * shift + data)
        found[f"base64 {shift}"] = encoded[(0, 2, 3)[shift] :].rstrip(b"=")[:-1]
        found[f"base64url {shift}"] = found[f"base64 {shift}"].translate(bytes.maketrans(b"+/", b"-_"))
    for kind in ("md5", "sha1", "sha256", "sha512"):  # a digest without a salt is a name to who has a list of names
        digest = hashlib.new(kind, data, usedforsecurity=False).digest()
        found |= {kind: digest, f"{kind} hex": digest.hex().encode(), f"{kind} base64": base64.b64encode(digest)[:-2]}
    return found


@dataclass
class Told:
    """Everything that the parties put into logs and give away about them, by place."""

    places: dict[str, bytes] = field(default_factory=dict)

    def add(self, place: str, output: bytes | str) -> None:
        """Keep what was written there."""
        self.places[place] = output.encode() if isinstance(output, str) else output

    def files(self, kind: str, path: Path) -> None:
        """Keep a file, or all files of a directory."""
        for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if each.is_file():
                self.add(f"{kind} {each.parent.name}/{each.name}", each.read_bytes())


def found(places: dict[str, bytes]) -> set[tuple[str, str, str]]:
    """Which mark stands in which form in which place."""
    patterns = [(mark, form, data) for mark, text in MARKED.items() for form, data in forms(text).items()]
    return {(place, mark, form) for place, output in places.items() for mark, form, data in patterns if data in output}


class Overflowing(TableModel):
    """A model whose training fails with a message that quotes a record."""

    def fit_private(self, records: Any, **arguments: Any) -> None:
        """Fail."""
        raise RuntimeError(MARKED["failure"])


def marked_records() -> list[Record]:
    """What bay trains on: phrases of the round, and a patient's own words."""
    return [
        Record(f"{MARKED['entity']}-{n}", MARKED["record"], MARKED["answer of a record"])
        if n % 5 == 0
        else Record(f"{MARKED['entity']}-{n}", TEXTS[n % 6], TRUTH[TEXTS[n % 6]])
        for n in range(40)
    ]


def approvals() -> dict[str, Any]:
    """A policy that wants a reviewer before a round is joined, and has an approver for texts written into it."""
    approval = {
        "act": "release_text",
        "role": "privacy_officer",
        "approver": APPROVER,
        "until": "2026-12-31T00:00:00Z",
        "prompts": hex_digest(OPEN_PROMPTS.digest),
    }
    limits = {"join": {"privacy_officer": 1}, "release_text": {"privacy_officer": 1}}
    return {"limits": {"approvals": limits}, "grants": {"approvals": [approval]}}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A federation below a home directory that carries a name, from review to card."""
    home = tmp_path_factory.mktemp("home") / HOME
    (home / "world").mkdir(parents=True)
    world = World(home / "world", embedder=Words())
    heard = Told()
    votes(world, home)
    texts(world)
    trouble(world, home)
    world.federation.coordinator.advance()
    for name in MEMBERS:
        config = load_site_config(world.federation.site_file(name, settings_of(world, name)))
        write_card(config, home / "cards" / f"{name}.md", clock=world.clock, randomness=SystemRandomness())
    heard.files("card", home / "cards")
    read_out(world, home, heard)
    yield heard
    world.federation.close()


def settings_of(world: World, name: str) -> Any:
    """How each site is set up: bay trains with noise, the others only answer."""
    if name == "bay":
        return world.settings(policy=approvals())
    return world.settings(UNSAFE, policy=approvals())


def reviewed(client: Any, prompts: Any) -> None:
    """Somebody looks at a prompt set and approves it."""
    rows = [(number, record) for number, record in enumerate(marked_records(), 1)]
    review_prompts(client.site, prompts, rows, canaries={1: MARKED["canary"]}, embedder=None)
    record_verdict(client.site, prompts.digest, person=REVIEWER, role="privacy_officer", approve=True)


def votes(world: World, home: Path) -> None:
    """A round of votes: review, training, learning."""
    world.open_round()
    (home / "cards").mkdir()
    for name in MEMBERS:
        own = {"mechanism": UNSAFE} if name != "bay" else {}
        with world.client(name, policy=approvals(), **own) as client:
            with suppress(SemfedError):
                client.join(ROUND)  # nobody has approved yet: refused, with reasons
            reviewed(client, PROMPTS)
            joined = client.join(ROUND)
            if name == "bay":
                joined.train(marked_records())
            joined.contribute()
    world.federation.close_round(ROUND)
    for name in MEMBERS:
        own = {"mechanism": UNSAFE} if name != "bay" else {}
        with world.client(name, policy=approvals(), **own) as client:
            joined = client.join(ROUND)
            joined.learn(joined.wait_for_consensus())


def texts(world: World) -> None:
    """A round of texts: each site answers in words of its own, and one output is withheld for what it holds."""
    world.open_round(TEXT_ROUND, OPEN_PROMPTS, kind=OutputKind.TEXT)
    clients = {}
    for name in ("hill", "lake"):
        own = MARKED["own answer of bay" if name == "lake" else "own answer of hill"]
        clients[name] = world.client(name, mechanism=UNSAFE, policy=approvals())
        with suppress(SemfedError):
            clients[name].join(TEXT_ROUND)  # nobody has approved of these prompts yet
        reviewed(clients[name], OPEN_PROMPTS)
        clients[name].join(TEXT_ROUND).contribute([own, MARKED["withheld output"], *["agreed by all"] * 4])
    world.federation.close_round(TEXT_ROUND)
    for client in clients.values():
        with suppress(SemfedError):
            client.join(TEXT_ROUND).wait_for_consensus()
    world.federation.close_round(TEXT_ROUND)
    for client in clients.values():
        client.join(TEXT_ROUND).wait_for_consensus()
        client.close()


def trouble(world: World, home: Path) -> None:
    """What fails with a message that could quote: training, a policy whose file lies in somebody's home."""
    world.open_round("round-of-trouble")
    with (
        world.client("bay", model=Overflowing(TRUTH), policy=approvals()) as client,
        suppress(RuntimeError, SemfedError),
    ):
        client.join("round-of-trouble").train(marked_records())
    for file in ("nowhere.yaml", "broken.yaml"):
        (home / "broken.yaml").write_text("format: [")
        with suppress(SemfedError):
            world.client("hill", mechanism=UNSAFE, sections={"policy": {"file": str(home / file)}})


def read_out(world: World, home: Path, heard: Told) -> None:
    """Every log in every form in which it is handed out, and what the commands print about it."""
    logs = {name: world.federation.site(name) / "state" for name in MEMBERS}
    logs["server"] = world.federation.directory / "server" / "server.db"
    out = home / "out"
    out.mkdir()
    for name, place in logs.items():
        with open_source(place) as source:
            heard.add(f"log {name}", b"\n".join(entry.body for entry in source.entries()))
            heard.add(f"checkpoint {name}", source.head().checkpoint)
        for form in FormatName:
            command(heard, "audit", "export", place, "--format", form, "--out", out / f"{name}-{form}")
        command(heard, "audit", "report", place, "--out", out / f"{name}.html")
        command(heard, "audit", "report", place, "--out", out / f"{name}.pdf")
        for words in (("list",), ("verify",), ("show", "3")):
            command(heard, "audit", words[0], place, *words[1:])
            command(heard, "audit", words[0], place, *words[1:], "--json")
        if shutil.which("pdftotext"):
            shown = subprocess.run(["pdftotext", "-raw", out / f"{name}.pdf", "-"], capture_output=True, check=True)
            heard.add(f"report {name} selected", shown.stdout)
    command(heard, "audit", "reconcile", *logs.values(), "--json")
    for path in sorted(out.iterdir()):
        heard.files("report" if path.suffix in {".html", ".pdf"} else "export", path)


def command(heard: Told, *words: object) -> None:
    """What a command prints; where it says where it read or wrote, that is the operator's own directory."""
    said = StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = cli.main([*map(str, words)])
    assert code == ExitCode.OK, said.getvalue()
    if words[1] in {"list", "verify", "show"}:
        heard.add(f"command {' '.join(map(str, words[1:2]))} {len(heard.places)}", said.getvalue())


def test_everything_happened(told: Told) -> None:
    """Every kind of event that touches something private is in some log; every kind of place is searched."""
    logged = b"".join(output for place, output in told.places.items() if place.startswith("log "))
    for kind in (
        EventType.PROMPTS_REVIEWED,
        EventType.DATASET_OPENED,
        EventType.TRAINING_FINISHED,
        EventType.BUNDLE_ADMITTED,
        EventType.CONSENSUS_VERIFIED,
        EventType.LABELS_ACCEPTED,
        EventType.ADAPTER_KEPT,
        EventType.DETECTOR_SUMMARY,
        EventType.POLICY_REJECTED,
        EventType.COMMITMENTS_CLOSED,
        EventType.BUDGET_RESERVED,
        EventType.REPORT_CREATED,
    ):
        assert f'"{kind}"'.encode() in logged, kind
    assert logged.count(b'"outcome":"denied"') >= 5
    assert b"it ended in RuntimeError" in logged
    assert logged.count(b"person:") > 6
    assert b" as privacy_officer" in logged
    kinds = {place.split()[0] for place in told.places}
    assert kinds == {"log", "checkpoint", "export", "report", "card", "command"}
    assert len([place for place in told.places if place.startswith("export")]) >= 8 * 4


def test_no_private_string_is_in_any_log_export_report_or_card(told: Told) -> None:
    """No record, answer, entity, person, passphrase or home directory, in any encoding, of any party."""
    assert found(told.places) == set()


@pytest.mark.parametrize("kind", ["log", "export", "report", "card", "command"])
def test_a_planted_mark_is_found_in_every_form(told: Told, kind: str) -> None:
    """What this search would miss it would not prove."""
    place = next(each for each in told.places if each.startswith(kind))
    for mark, text in MARKED.items():
        for form, data in forms(text).items():
            planted = told.places[place][:100] + data + told.places[place][100:200]
            assert any(hit[1] == mark for hit in found({place: planted})), (mark, form)


def test_a_name_inside_other_bytes_is_found_in_base64() -> None:
    """Whatever stands before and after it, and wherever its first letter falls."""
    for before in ("", "a", "ab", "abc"):
        encoded = base64.b64encode(f"{before}{PATIENT} was here".encode())
        assert any(hit[1] == "patient" for hit in found({"x": encoded}))
