"""The site file: what loads, what is refused, and that every problem is named."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from semfed_secure.client.config import LocalModelSection, RemoteModelSection, load_site_config
from semfed_secure.errors import ConfigurationError
from semfed_secure.units import Mechanism

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = """
[site]
federation = "clinics"
member = "st-mary"
state = "state"
[identity]
keys = "keys"
passphrase_file = "/etc/semfed/passphrase"
[federation]
root = "root.cbor"
server_id = "server"
[server]
url = "http://127.0.0.1:8100"
[policy]
file = "policy.yaml"
[data]
dataset = "st-mary-2024"
population = "st-mary-patients"
classification = "phi"
population_bound = 1000
[model]
kind = "local"
source = "models/small"
family = "llama"
[privacy]
mechanism = "dp_sgd"
epsilon = "8"
delta = "1e-6"
"""


def write(directory: Path, text: str) -> Path:
    """A site file with this text."""
    path = directory / "site.toml"
    path.write_text(text)
    return path


def test_the_signer_of_a_token_is_named_beside_the_keys(tmp_path: Path) -> None:
    """Its address, and the file of its PIN beside the site file."""
    text = WHOLE.replace('keys = "keys"', 'keys = "keys"\nsigner = "hsm:1?label=st-mary"\nsigner_pin_file = "pin"')
    identity = load_site_config(write(tmp_path, text)).identity
    assert identity.signer == "hsm:1?label=st-mary"
    assert identity.signer_pin_file == tmp_path.resolve() / "pin"


@pytest.mark.parametrize(
    "fields",
    ['signer = "k.pem"', 'signer = "file2:k.pem"', "signer = 1", 'signer_pin_file = "pin"', 'signer_pin = "1234"'],
)
def test_a_signer_of_another_form_and_a_pin_without_one_are_refused(tmp_path: Path, fields: str) -> None:
    """SF101 names the section; a PIN itself has no place in the file."""
    with pytest.raises(ConfigurationError, match="identity") as caught:
        load_site_config(write(tmp_path, WHOLE.replace('keys = "keys"', f'keys = "keys"\n{fields}')))
    assert caught.value.code == "SF101"


def test_a_whole_file_loads(tmp_path: Path) -> None:
    """Every section is read; epsilon and delta are exact decimals."""
    config = load_site_config(write(tmp_path, WHOLE + "[model.settings]\nthreads = 1\n"))
    assert config.model.settings.threads == 1
    assert config.privacy.epsilon == Decimal(8)
    assert config.privacy.delta == Decimal("0.000001")
    assert isinstance(config.model, LocalModelSection)


def test_relative_paths_start_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the process was started does not change which files are meant; absolute paths stay."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = write(tmp_path, WHOLE)
    monkeypatch.chdir(elsewhere)
    config = load_site_config(path)
    assert config.site.state == tmp_path / "state"
    assert str(config.identity.passphrase_file) == "/etc/semfed/passphrase"


def test_a_model_beside_the_file_is_a_directory_any_other_a_hub_name(tmp_path: Path) -> None:
    """`models/small` is read beside the site file if it is there, whatever the working directory."""
    path = write(tmp_path, WHOLE)
    assert load_site_config(path).model.source == "models/small"
    (tmp_path / "models" / "small").mkdir(parents=True)
    assert load_site_config(path).model.source == str(tmp_path / "models" / "small")


def test_an_openai_endpoint_is_a_model(tmp_path: Path) -> None:
    """The kind decides which keys the model section has."""
    remote = 'kind = "openai"\nsource = "http://127.0.0.1:8000/v1"\nname = "m"\nfamily = "llama"\n'
    local = 'kind = "local"\nsource = "models/small"\nfamily = "llama"\n'
    config = load_site_config(write(tmp_path, WHOLE.replace(local, remote)))
    assert isinstance(config.model, RemoteModelSection)
    with pytest.raises(ConfigurationError, match="digest"):
        load_site_config(write(tmp_path, WHOLE.replace(local, remote + 'digest = "sha256:00"\n')))


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('epsilon = "8"', "epsilon = 8.0", "privacy.epsilon"),
        ('epsilon = "8"', 'epsilon = "eight"', "privacy.epsilon"),
        ('epsilon = "8"', 'epsilom = "8"', "privacy.epsilom"),
        ('epsilon = "8"\n', "", "privacy"),
        ('epsilon = "8"', 'epsilon = "0"', "privacy.epsilon: .*above 0"),
        ('epsilon = "8"', 'epsilon = "-1"', "privacy.epsilon: .*above 0"),
        ('epsilon = "8"', 'epsilon = "1e400"', "privacy.epsilon: .*at most 1000"),
        ('epsilon = "8"', 'epsilon = "NaN"', "privacy.epsilon"),
        ('delta = "1e-6"', 'delta = "0"', "privacy.delta: .*above 0"),
        ('delta = "1e-6"', 'delta = "0.5"', "privacy.delta"),
        ('member = "st-mary"', 'member = "../st-mary"', "site.member"),
        ("population_bound = 1000", "population_bound = 0", "data.population_bound"),
        ("population_bound = 1000", "population_bound = 10", "expected_entities"),
        ("population_bound = 1000", 'population_bound = "1000"', "data.population_bound"),
        ("population_bound = 1000", "population_bound = 1000000000000", "data.population_bound"),
        ("population_bound = 1000", "population_bound = 1000\nmax_records_per_entity = true", "max_records_per_entity"),
        ("[privacy]", "[training]\nsteps = true\n[privacy]", "training.steps"),
        ("[privacy]", '[training]\nsteps = "12"\n[privacy]', "training.steps"),
        ("[privacy]", "[training]\nsteps = 100000000000000\n[privacy]", "training.steps"),
        ("[privacy]", "[training]\nclip_norm = nan\n[privacy]", "training.clip_norm"),
        ("[privacy]", "[training]\nclip_norm = 1e-300\n[privacy]", "training.clip_norm"),
        ("[privacy]", "[training]\nclip_norm = true\n[privacy]", "training.clip_norm"),
        ("[privacy]", "[model.settings]\nthreads = 0\n[privacy]", "settings.threads"),
        ("[privacy]", '[model.settings]\nthreads = "x"\n[privacy]', "settings.threads"),
        ("[privacy]", "[model.settings]\nthread = 1\n[privacy]", "settings.thread:"),
        ('file = "policy.yaml"', 'file = "po\\u0000licy.yaml"', "policy.file: .*NUL"),
        ('file = "policy.yaml"', 'file = "~nobody-of-this-name/policy.yaml"', "policy.file: .*home"),
        ('file = "policy.yaml"', "file = 5", "policy.file"),
        ('state = "state"', 'state = "\\u0000"', "site.state: .*NUL"),
        ('source = "models/small"', 'source = "models\\u0000"', "model.local.source: .*NUL"),
        ('url = "http://127.0.0.1:8100"', 'url = "file:///etc"', "server.url"),
        ('url = "http://127.0.0.1:8100"', 'url = "http://[bad"', "server.url"),
        ('url = "http://127.0.0.1:8100"', 'url = "http://hub.example:99999999"', "server.url"),
        ('file = "policy.yaml"', 'file = "policy.yaml"\ndigest = "abc"', "policy.digest"),
        ('kind = "local"', 'kind = "magic"', "model"),
        ("[server]", "[servers]", "servers"),
    ],
)
def test_a_field_that_is_not_valid_is_named(tmp_path: Path, old: str, new: str, field: str) -> None:
    """SF101, and the sentence names the field."""
    assert old in WHOLE
    with pytest.raises(ConfigurationError, match=field) as caught:
        load_site_config(write(tmp_path, WHOLE.replace(old, new)))
    assert caught.value.code == "SF101"


@pytest.mark.parametrize(
    ("text", "reason"),
    [("a = " + "[" * 5_000, "nested too deeply"), ("a = " + "1" * 5_000, "not TOML"), ("a = 1\ufeff", "not TOML")],
    ids=["deep", "huge-number", "stray-mark"],
)
def test_a_file_made_to_break_the_parser_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    """SF101, whatever the parser made of it."""
    with pytest.raises(ConfigurationError, match=rf"SF101.*{reason}"):
        load_site_config(write(tmp_path, text))


def test_a_mark_before_the_first_line_is_no_part_of_the_file(tmp_path: Path) -> None:
    """Some editors write one; the file is the same with and without."""
    assert load_site_config(write(tmp_path, "\ufeff" + WHOLE)) == load_site_config(write(tmp_path, WHOLE))


def test_a_source_that_no_directory_can_have_is_a_hub_name(tmp_path: Path) -> None:
    """A name too long for the disk is looked for nowhere else, and refused where models are loaded."""
    name = "models/" + "x" * 190
    config = load_site_config(write(tmp_path, WHOLE.replace("models/small", name)))
    assert config.model.source == name


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    """The operator corrects the file once, not once per field."""
    broken = WHOLE.replace('epsilon = "8"', "epsilon = 8.0").replace('member = "st-mary"', 'member = "A"')
    with pytest.raises(ConfigurationError) as caught:
        load_site_config(write(tmp_path, broken))
    assert "site.member" in caught.value.message
    assert "privacy.epsilon" in caught.value.message


def test_noiseless_release_has_no_epsilon(tmp_path: Path) -> None:
    """Weakness is spelled out: `unsafe_no_noise` without figures that would look like a promise."""
    loud = WHOLE.replace('"dp_sgd"', '"unsafe_no_noise"')
    with pytest.raises(ConfigurationError):
        load_site_config(write(tmp_path, loud))
    config = load_site_config(write(tmp_path, loud.replace('epsilon = "8"\n', "").replace('delta = "1e-6"\n', "")))
    assert config.privacy.mechanism is Mechanism.UNSAFE_NO_NOISE


@pytest.mark.parametrize("mechanism", ["shard_votes", "gaussian_vector", "distributed"])
def test_a_mechanism_that_no_client_runs_is_refused(tmp_path: Path, mechanism: str) -> None:
    """SF101 when the file is opened, naming what can be run instead; never a release that was not noised so."""
    with pytest.raises(ConfigurationError, match=rf"SF101.*no client runs {mechanism} yet; it runs dp_sgd"):
        load_site_config(write(tmp_path, WHOLE.replace('"dp_sgd"', f'"{mechanism}"')))


def test_a_missing_or_broken_file_is_a_coded_error(tmp_path: Path) -> None:
    """SF102 without the file, SF101 where it is not TOML."""
    with pytest.raises(ConfigurationError) as missing:
        load_site_config(tmp_path / "none.toml")
    with pytest.raises(ConfigurationError) as broken:
        load_site_config(write(tmp_path, "[site"))
    assert (missing.value.code, broken.value.code) == ("SF102", "SF101")
