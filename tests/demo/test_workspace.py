"""The demo founds its federation by the public commands, and every file it writes is a valid one."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from semfed_secure.client.config import load_site_config
from semfed_secure.clock import SystemClock
from semfed_secure.demo.data import FederationData, Row
from semfed_secure.demo.plan import MISBEHAVING, RoundPlan, Scale, SiteRole, Training, settle
from semfed_secure.demo.workspace import SERVER, Models, Workspace, drawn_for, found
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.federation_files import FederationDirectory
from semfed_secure.ids import hex_digest
from semfed_secure.llm.files import directory_digest
from semfed_secure.policy.compose import load_policy
from semfed_secure.server.config import load_server_config

BUILDER = Path(__file__).parents[2] / "examples" / "hospital_coding" / "build.py"
TRAINING = Training(steps=3, sample_rate=0.1, clip_norm=0.5, epsilon="8", delta="1e-6")
ROUNDS = (RoundPlan("round-1", "votes"), RoundPlan("round-2", "text"))
ONE_IN, ASKED = {"votes": 1, "text": 4}, {"votes": 60, "text": 12}
SCALE = Scale(
    name="test",
    honest=3,
    families=("one", "two"),
    writers=("one",),
    rounds=ROUNDS,
    training=TRAINING,
    one_in=ONE_IN,
    asked=ASKED,
    gold={"votes": 15},
    measured={"votes": 200, "text": 20},
    settings={"one": {"layers": 2}},
    terms={},
    round_seconds=60,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> FederationData:
    """The small hospital data."""
    spec = importlib.util.spec_from_file_location("hospital_build_for_workspace", BUILDER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    directory = tmp_path_factory.mktemp("data") / "hospital"
    module.build(directory, seed=1, small=True)
    return FederationData(directory)


@pytest.fixture(scope="module")
def workspace(data, tmp_path_factory) -> Workspace:
    """A founded federation of one honest site of each family and the one that lies."""
    sites = settle(data, SCALE, without={SiteRole.BROKEN, SiteRole.LATE})
    root = tmp_path_factory.mktemp("work")
    for name in ("one", "two"):
        (root / name).mkdir()
        (root / name / "model.safetensors").write_text(name)
    models = Models({name: root / name for name in ("one", "two")}, Path("/models/embedder"))
    made = Workspace(root / "run", data, SCALE, sites, models, 8440)
    found(made)
    return made


def test_families_take_turns_and_the_last_three_misbehave(data) -> None:
    """Both families are always there; who misbehaves is fixed."""
    sites = settle(data, SCALE)
    assert [site.role for site in sites] == [SiteRole.HONEST] * 3 + list(MISBEHAVING)
    assert [site.family for site in sites][:3] == ["one", "two", "one"]
    assert [site.id for site in sites][-3:] == ["eastfield", "westbrook", "southport"]


def test_a_misbehaving_site_can_be_left_out(data) -> None:
    """`--without late` leaves exactly that one out."""
    with_all, without = settle(data, SCALE), settle(data, SCALE, without={SiteRole.LATE})
    assert [site.id for site in with_all if site not in without] == ["southport"]


def test_too_few_sites_are_refused(data) -> None:
    """A user's data with fewer sites than the scale needs is named."""
    with pytest.raises(ConfigurationError, match="14 sites are needed, found 8"):
        settle(data, replace(SCALE, honest=11))


def test_every_member_is_on_the_roster(workspace) -> None:
    """The server and each site, in their roles, signed by the root."""
    roster = FederationDirectory(workspace.root / "federation").roster(now=SystemClock().now())
    roles = {record.member_id: set(record.roles) for record in roster.records}
    assert roles == {SERVER: {"server"}} | {site.id: {"client"} for site in workspace.sites}


def test_every_configuration_is_valid_and_names_what_exists(workspace) -> None:
    """The files are read by the production loaders."""
    server = load_server_config(workspace.server_file)
    assert server.identity.keys.is_dir()
    assert server.federation.roster.is_file()
    for site in workspace.sites:
        config = load_site_config(workspace.site_file(site))
        assert config.federation.root.is_file()
        assert config.data.records is not None
        assert config.data.records.is_file()
        assert config.site.member == site.id


def test_a_site_grants_its_prompt_sets_its_server_and_nothing_more(workspace) -> None:
    """By digest and by signing key, below the shipped ceiling."""
    policy = load_policy(workspace.site(workspace.sites[0]) / "policy.yaml")
    assert policy.grants.prompts == {hex_digest(workspace.prompt_set(kind).digest) for kind in ("votes", "text")}
    assert [peer.server_id for peer in policy.grants.peers] == [SERVER]


def test_the_passphrase_and_every_private_key_are_for_their_owner_only(workspace) -> None:
    """Mode 0600, as for any site."""
    private = [workspace.root / "passphrase", *workspace.root.rglob("*.key")]
    assert len(private) > 2 * len(workspace.sites)
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}


def test_gold_prompts_are_the_first_known_answers_to_what_is_asked(tmp_path) -> None:
    """In whatever order a user's file has them, and whichever it lacks; a round with others would not open."""
    rows = tuple(Row(id=f"p{number}", text="phrase", label="heart") for number in range(100))
    names, unknown = [row.id for row in rows], rows[0].model_copy(update={"label": ""})
    data = SimpleNamespace(prompts=rows, gold=rows, answer=lambda row, _kind: row.label)
    workspace = Workspace(tmp_path, data, SCALE, (), Models({}, tmp_path), 8440)
    for gold, expected in (
        (rows, names[:15]),
        (rows[::-1], names[59:44:-1]),
        ((unknown, *rows[1:]), names[1:16]),
    ):
        data.gold = gold
        assert [row.id for row in workspace.gold("votes")] == expected
        assert workspace.gold("text") == ()


def test_each_kind_is_measured_on_as_many_rows_as_planned(workspace) -> None:
    """Votes on all, texts on a few: one line each in the evaluation file."""
    lines = (workspace.site(workspace.sites[0]) / "heldout.jsonl").read_text().splitlines()
    assert len(lines) == 200 + 20


def test_records_become_questions_of_each_kind_as_planned(workspace) -> None:
    """Both tasks are learned from the same patients, within the bound of the configuration."""
    site = workspace.sites[0]
    lines = (workspace.site(site) / "records.jsonl").read_text().splitlines()
    closed, written = (sum(f"\\n{word}:" in line for line in lines) for word in ("Department", "Category"))
    assert closed == 160
    assert 20 < written < 65  # one in four, by a property of each record
    assert load_site_config(workspace.site_file(site)).data.max_records_per_entity == 4


def test_which_records_carry_a_question_depends_on_no_other_record(workspace) -> None:
    """Neighbouring data sets differ in one patient only, also after the questions are drawn."""
    rows = workspace.data.records[workspace.sites[0].id]
    drawn = [row for row in rows if drawn_for(row, 4)]
    for left_out in rows[:20]:
        rest = [row for row in rows if row is not left_out]
        assert [row for row in rest if drawn_for(row, 4)] == [row for row in drawn if row is not left_out]


def test_each_family_has_its_model_settings(workspace) -> None:
    """What the plan says reaches the site file; where it says nothing the default stands."""
    layers = [load_site_config(workspace.site_file(site)).model.settings.layers for site in workspace.sites]
    assert layers == [2, 4, 2, 4]


def test_a_family_that_does_not_write_is_granted_no_text(workspace) -> None:
    """It takes part in the rounds of labels only, and its policy says so; a liar joins everything."""
    writer, other, _, liar = workspace.sites
    assert (workspace.rounds(writer), workspace.rounds(other)) == (("round-1", "round-2"), ("round-1",))
    assert workspace.rounds(liar) == ("round-1", "round-2")
    policy = load_policy(workspace.site(other) / "policy.yaml")
    assert policy.grants.kinds == {"votes"}
    assert policy.grants.prompts == {hex_digest(workspace.prompt_set("votes").digest)}


def test_a_policy_grants_its_familys_weights_by_digest(workspace) -> None:
    """Other weights under the same name are not what the site agreed to."""
    for site in workspace.sites[:2]:
        (grant,) = load_policy(workspace.site(site) / "policy.yaml").grants.models
        pinned = hex_digest(directory_digest(workspace.models.families[site.family]))
        assert (grant.family, grant.digest) == (site.family, pinned)
