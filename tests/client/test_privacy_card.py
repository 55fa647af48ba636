"""The privacy card says what ledger, policy and log say, in a fixed form, and nothing of a log that does not verify."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from markdown import markdown

from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.verify import verify_log
from semfed_secure.client.card.document import Document, card_of
from semfed_secure.client.card.evidence import read_evidence
from semfed_secure.client.card.markdown import markdown_of
from semfed_secure.client.card.writing import write_card
from semfed_secure.client.config import load_site_config
from semfed_secure.clock import FixedClock, SystemRandomness
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.identity.member_files import load_member_record
from semfed_secure.ids import hex_digest, sha256
from semfed_secure.privacy.budget import Budget, Charge
from semfed_secure.privacy.ledger import BudgetLedger
from semfed_secure.privacy.meaning import best_true_positive_rate
from semfed_secure.storage import Database
from semfed_secure.testing import TableModel
from semfed_secure.units import Mechanism, Period, PrivacyUnit, Relation
from tests.client.world import HISTOGRAM, NOW, ROUND, TEXTS, TRUTH, UNSAFE, World, records
from tests.tampering import disarm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from semfed_secure.audit.events import Entry

HOSTILE = 'x` | <script>alert("x")</script> [a](http://evil.example) ![b](x) **c** &lt; \\` www.evil.example'
KEY = LogSigningKey("hospitals.example/north", b"\x01" * 32, b"\x02" * 32)
DIGEST = "sha256:" + "ab" * 32


class Books:
    """A site's log and ledger, as text of any sort may stand in them."""

    def __init__(self, directory: Path) -> None:
        """Begin them."""
        self.path = directory / "site.db"
        self.database = Database.open(self.path, kind="client")
        self.clock = FixedClock(NOW)
        self.log = AuditLog(self.database, key=KEY, clock=self.clock, writer="north/client")
        self.ledger = BudgetLedger(self.database, self.log, self.clock, actor="north")

    def charge(
        self, purpose: str, mechanism: Mechanism = HISTOGRAM, *, population: str = "patients", **parameters: str
    ) -> None:
        """Charge an act, of which a lifetime budget of 8 at delta 1e-6 pays whatever it can."""
        limit = Decimal("Infinity") if mechanism is UNSAFE else Decimal(8)
        charge = Charge(
            idempotency_key=f"{population}/{purpose}",
            population=population,
            unit=PrivacyUnit.ENTITY,
            relation=Relation.ADD_OR_REMOVE_ONE,
            purpose=purpose,
            mechanism=mechanism,
            parameters=parameters,
            delta=Decimal("1e-6"),
            policy_digest=DIGEST,
        )
        self.ledger.reserve(charge, [Budget(Period.LIFETIME, limit, Decimal("1e-6"))])

    def card(self, *, key: str | None = None) -> Document:
        """The card of what was written so far."""
        return card_of(read_evidence(self.path, key=key), NOW)


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """An empty log and ledger."""
    made = Books(tmp_path)
    yield made
    made.database.close()


def shape(value: Any) -> Any:
    """The form of a document: its keys, and what stands in its lists, without the values."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


SHAPE = {
    "format": "str",
    "site": "str",
    "created": "str",
    "populations": [
        {
            **dict.fromkeys(("population", "unit", "unit_meaning", "relation", "relation_meaning"), "str"),
            **dict.fromkeys(("epsilon", "delta", "accountant", "epsilon_budget", "scope"), "str"),
            "entry": "int",
            "attacker": [{"false_positive_rate": "str", "true_positive_rate": "str"}],
            "charges": [
                {
                    "charge": "int",
                    **dict.fromkeys(("at", "purpose", "mechanism"), "str"),
                    "parameters": {"sigma": "str"},
                    **dict.fromkeys(("epsilon_alone", "delta"), "str"),
                    "confirmed": "bool",
                    "policy_digest": "str",
                }
            ],
            "budgets": [
                dict.fromkeys(("period", "epsilon_spent", "epsilon_budget", "epsilon_remaining", "delta"), "str")
            ],
        }
    ],
    "mechanisms": [dict.fromkeys(("mechanism", "privacy_unit", "sensitivity", "guarantee", "assumes"), "str")],
    "releases": [{"kind": "str", "aggregation": "str", "mechanism": "str", "bundles": "int", "outputs": "int"}],
    "trust": [{"aggregation": "str", "available": "bool", "used": "bool", "server_sees": "str", "peers_see": "str"}],
    "hazards": ["str"],
    "attacks": [],
    "policy": {"id": "str", "version": "str", "digest": "str", "extends": ["str"], "entry": "int"},
    "log": {
        "origin": "str",
        "entries": "int",
        "root": "str",
        "key_digest": "str",
        "key_was_given": "bool",
        "first_time": "str",
        "last_time": "str",
    },
}
HEADINGS = [
    "# Privacy card of `bay.example/test-federation/bay`",
    "## What is claimed",
    "### `people-of-bay`",
    "## Mechanisms",
    "### `record_histogram`",
    "## What was composed",
    "## What was released, and who sees it",
    "## Hazards",
    "## Audit by attack",
    "## Where this comes from",
]


def released(world: World) -> Path:
    """The site file of a site whose records have voted in one round."""
    world.open_round()
    with world.client(mechanism=HISTOGRAM, model=TableModel(TRUTH)) as client, client.join(ROUND) as r:
        r.contribute(records=records("bay"))
    return world.federation.site_file("bay", world.settings(HISTOGRAM))


@dataclass(frozen=True)
class Site:
    """A site that has written its card.

    Attributes:
        directory: Where the card lies, as ``card.md`` and ``card.json``.
        place: The site's directory.
        card: What was written.
        entries: Its log afterwards.
    """

    directory: Path
    place: Path
    card: Document
    entries: tuple[Entry, ...]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Made once: the tests of it only read."""
    directory = tmp_path_factory.mktemp("card")
    world = World(directory)
    config = load_site_config(released(world))
    card = write_card(config, directory / "card.md", clock=world.clock, randomness=SystemRandomness())
    place = world.federation.site("bay")
    entries: list[Entry] = []
    world.federation.close()
    verify_log(place / "state", key=None, visit=entries.append)
    return Site(directory, place, card, tuple(entries))


def test_a_site_writes_its_card_and_enters_its_digest(site: Site) -> None:
    """Markdown and JSON of one fixed form; the entry holds the JSON's digest and the tree that the card speaks of."""
    assert shape(site.card) == SHAPE
    body, text = (site.directory / "card.json").read_bytes(), (site.directory / "card.md").read_text()
    assert json.loads(body) == site.card
    assert [line for line in text.splitlines() if line.startswith("#")] == HEADINGS
    (entry,) = (entry for entry in site.entries if entry.event.type is EventType.REPORT_CREATED)
    log = site.card["log"]
    assert entry.event.details == {
        "kind": "privacy card",
        "digest": hex_digest(sha256(body)),
        "size": log["entries"],
        "root": log["root"],
    }
    assert entry.seq == log["entries"] == len(site.entries) - 1
    assert log["key_was_given"]


def test_every_figure_is_the_one_of_ledger_log_and_policy(site: Site) -> None:
    """Epsilon, budget and charge are those that the entry of the charge states; the bound is that of the epsilon."""
    (one,) = site.card["populations"]
    charged = site.entries[one["entry"]].event
    assert charged.type is EventType.BUDGET_RESERVED
    assert charged.privacy is not None
    assert (one["epsilon"], one["delta"]) == (charged.privacy.epsilon, charged.privacy.delta)
    assert one["epsilon_budget"] == charged.details["limit"]
    (charge,) = one["charges"]
    assert (charge["charge"], charge["purpose"]) == (charged.details["charge"], charged.details["purpose"])
    assert charge["confirmed"]
    bounds = [(Decimal(row["false_positive_rate"]), Decimal(row["true_positive_rate"])) for row in one["attacker"]]
    epsilon, delta = Decimal(one["epsilon"]), Decimal(one["delta"])
    rates = [Decimal("0.01"), Decimal("0.001")]
    assert bounds == [(rate, best_true_positive_rate(epsilon, delta, rate)) for rate in rates]
    loaded = site.entries[site.card["policy"]["entry"]].event
    assert (loaded.type, loaded.policy_digest) == (EventType.POLICY_LOADED, site.card["policy"]["digest"])
    (budget,) = (row for row in one["budgets"] if row["period"] == "lifetime")
    assert budget["epsilon_spent"] == one["epsilon"]
    assert Decimal(budget["epsilon_remaining"]) == Decimal(budget["epsilon_budget"]) - epsilon


def test_releases_and_what_others_see_of_them_are_told(site: Site) -> None:
    """Counted by kind, mode and mechanism from the entries of releases; every mode has its views."""
    (bundle,) = site.card["releases"]
    assert list(bundle.values()) == ["votes", "direct", "record_histogram", 1, len(TEXTS)]
    views = {row["aggregation"]: (row["available"], row["used"]) for row in site.card["trust"]}
    assert views == {"direct": (True, True), "clustered": (False, False), "split": (False, False)}


def test_the_card_says_the_same_a_second_time(site: Site) -> None:
    """But for the entry of the first card: whoever holds the database can check a card by making it again."""
    key, config = load_member_record(site.place / "keys").log_key, load_site_config(site.place / "site.toml")
    again, first = card_of(read_evidence(site.place / "state", key=key, site=config), NOW), dict(site.card)
    assert again.pop("log")["entries"] == first.pop("log")["entries"] + 1
    assert again == first


def test_nothing_of_the_records_is_in_the_card(site: Site) -> None:
    """No entity, not how many there are, no text and no answer: 40 people asked about phrases."""
    text = (site.directory / "card.md").read_text() + (site.directory / "card.json").read_text()
    assert not re.search(r"bay-\d|\b40\b|phrase|heart", text)


def test_two_populations_stand_apart_and_their_charges_compose(books: Books) -> None:
    """Each with its own total; a total is below the sum of its charges taken alone."""
    for number in range(3):
        books.charge(f"round-{number}", sigma="6")
    books.charge("round-0", population="staff", sigma="3")
    patients, staff = books.card()["populations"]
    assert (patients["population"], len(patients["charges"]), staff["population"]) == ("patients", 3, "staff")
    alone = sum(Decimal(charge["epsilon_alone"]) for charge in patients["charges"])
    assert Decimal(patients["charges"][0]["epsilon_alone"]) < Decimal(patients["epsilon"]) < alone
    assert [charge["confirmed"] for charge in patients["charges"]] == [False] * 3


def test_releases_without_noise_are_the_first_hazard(books: Books) -> None:
    """Epsilon is infinite, the attacker's share is one, and the card opens its hazards with that."""
    books.charge("round-1", UNSAFE)
    card = books.card()
    (one,) = card["populations"]
    assert one["epsilon"] == "Infinity"
    assert [row["true_positive_rate"] for row in one["attacker"]] == ["1.000000", "1.000000"]
    assert "no guarantee at all" in card["hazards"][0]
    assert "excludes little" in card["hazards"][1]


def test_what_the_figures_do_not_call_for_is_no_hazard(books: Books) -> None:
    """A small epsilon and a key from outside: neither the warning of weak bounds nor that of the key."""
    books.charge("round-1", sigma="8")
    own, given = books.card()["hazards"], books.card(key=KEY.public.encode())["hazards"]
    assert not any("excludes little" in line or "without noise" in line for line in own)
    assert len(own) == len(given) + 1
    assert "named the key" in own[0]


def test_audits_by_attack_are_told_however_they_ended(books: Books) -> None:
    """Each with claim, lower bound and the digest of its report; one that did not pass is a hazard, none at all too."""
    books.charge("round-1", sigma="8")
    assert any("Nobody has attacked" in line for line in books.card()["hazards"])
    found = {"mechanism": "dp_sgd", "epsilon_claimed": "4", "canaries": 500, "report_digest": DIGEST}
    for verdict, outcome, epsilon in (("passed", "success", "0.7"), ("refuted", "failed", "9.5")):
        details = found | {"verdict": verdict, "epsilon_found": epsilon}
        books.log.append(
            Event(type=EventType.PRIVACY_AUDITED, outcome=outcome, actor="north", reason="as it ended", details=details)
        )
        card = books.card()
        told = [(one["verdict"], one["epsilon_found"], one["report_digest"]) for one in card["attacks"]]
        assert told[-1] == (verdict, epsilon, DIGEST)
        assert not any("Nobody has attacked" in line for line in card["hazards"])
        assert any("did not pass" in line for line in card["hazards"]) == (verdict == "refuted")
    assert len(told) == 2
    assert "| `refuted` | `dp_sgd` | `4` | `9.5` | `500` |" in markdown_of(card)


def test_a_site_that_released_nothing_says_so(books: Books) -> None:
    """Empty sections are sentences."""
    text = markdown_of(books.card())
    assert "The ledger holds no charge" in text
    assert "Nothing was released." in text
    assert "**Not audited.**" in text


def test_text_from_outside_adds_no_markup(books: Books) -> None:
    """Population, purpose and policy of any shape stay text: the page has the tags of a page about a plain site."""
    books.log.append(
        Event(
            type=EventType.POLICY_LOADED,
            outcome="success",
            actor="north",
            policy_id=HOSTILE,
            policy_digest=DIGEST,
            details={"version": HOSTILE, "extends": [HOSTILE]},
        )
    )
    books.charge(HOSTILE, population=HOSTILE, sigma="3")
    hostile = books.card()
    plain = json.loads(json.dumps(hostile).replace(json.dumps(HOSTILE)[1:-1], "plain"))
    pages = [markdown(markdown_of(card), extensions=["tables"]) for card in (hostile, plain)]
    tags = [re.findall(r"<[^>]*>", page) for page in pages]
    assert tags[0] == tags[1]
    assert "script" in pages[0]
    assert "evil.example" in pages[0]


def test_control_characters_cannot_come_in(books: Books) -> None:
    """A line break would leave the code span: what the database is made to hold shows as an escape."""
    books.charge("round-1", sigma="3")
    card = books.card()
    card["populations"][0]["population"] = "a\n\n# b\u202ec"
    assert "### `a\\n\\n# b\\u202ec`\n" in markdown_of(card)


DAMAGES = {
    "SF501": "UPDATE log_entry SET body = CAST('x' || substr(body, 2) AS BLOB) WHERE position = 1",
    "SF508": "DELETE FROM log_entry WHERE position = 1",
    "SF511": "DELETE FROM ledger_charge WHERE id = 1",
}


@pytest.mark.parametrize("code", DAMAGES)
def test_there_is_no_card_of_damaged_evidence(books: Books, code: str) -> None:
    """A changed log, a shortened one, a ledger that is not the log's: a code instead of figures."""
    for number in range(3):
        books.charge(f"round-{number}", sigma="6")
    books.card()
    with sqlite3.connect(books.path) as database:
        disarm(database)
        database.execute(DAMAGES[code])
    with pytest.raises(IntegrityError, match=code):
        books.card()


def test_there_is_no_card_under_another_key(books: Books) -> None:
    """SF503: the log is somebody else's."""
    other = LogSigningKey.generate("hospitals.example/north").public.encode()
    with pytest.raises(IntegrityError, match="SF503"):
        books.card(key=other)


def test_a_damaged_log_leaves_no_file_and_gets_no_entry(world: World, tmp_path: Path) -> None:
    """Refused before anything is written."""
    path = released(world)
    database = world.federation.site("bay") / "state" / "site.db"
    with sqlite3.connect(database) as connection:
        disarm(connection)
        connection.execute(DAMAGES["SF501"])
        before = connection.execute("SELECT count(*) FROM log_entry").fetchone()
    with pytest.raises(IntegrityError, match="SF501"):
        write_card(load_site_config(path), tmp_path / "card.md", clock=world.clock, randomness=SystemRandomness())
    assert not list(tmp_path.glob("card.*"))
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM log_entry").fetchone() == before


def test_another_policy_than_the_pinned_one_makes_no_card(world: World) -> None:
    """SF522: the budgets that it names are not the ones that bound."""
    path = released(world)
    world.federation.site_file("bay", world.settings(HISTOGRAM, budget="99"))
    with pytest.raises(IntegrityError, match="SF522"):
        read_evidence(world.federation.site("bay") / "state", key=None, site=load_site_config(path))


def test_a_card_is_a_markdown_file(world: World, tmp_path: Path) -> None:
    """Any other name would meet the JSON file; nothing is entered."""
    config = load_site_config(world.federation.site_file("bay", world.settings(HISTOGRAM)))
    with pytest.raises(ConfigurationError, match="SF105"):
        write_card(config, tmp_path / "card.json", clock=world.clock, randomness=SystemRandomness())
