"""The commands and the Python of the pages run as they are written."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from semfed_secure import Client
from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.log import AuditLog
from semfed_secure.client.config import load_site_config
from semfed_secure.client.progress import RoundState
from semfed_secure.clock import SystemClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.identity.member_files import load_member_record
from semfed_secure.ids import PromptId
from semfed_secure.server.config import load_server_config
from semfed_secure.storage import Database
from semfed_secure.testing import LocalFederation, SiteSettings, TableModel
from semfed_secure.wire.prompts import Prompt, PromptSet
from tests import tokens

ROOT = Path(__file__).parents[2]
TAKE_PART = "docs/how-to/run-a-server-and-take-part.md"
TUTORIAL = "docs/tutorial/first-federation.md"
PORT = "8440"
LONGEST_SECONDS = 900.0


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a page that are written in ``language``."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(page: str) -> str:
    """Every ``sh`` block of a page, as one script."""
    return "\n".join(blocks(page, "sh"))


@pytest.fixture
def work(tmp_path):
    """The empty directory of a reader."""
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


@pytest.fixture
def shell(tmp_path, work):
    """Run a script as a reader would, with `semfed` on the path, in the empty directory; nothing of it goes on."""
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    for name, module in {"semfed": "-m semfed_secure.cli", "python": ""}.items():
        launcher = bin_directory / name
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        launcher.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{bin_directory}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    (work / ".venv").mkdir()
    (work / ".venv/bin").symlink_to(bin_directory)

    def run(script: str) -> subprocess.CompletedProcess[str]:
        pipe = subprocess.PIPE
        child = subprocess.Popen(
            ["sh", "-eu", "-c", script],
            cwd=work,
            env=environment,
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = child.communicate(timeout=LONGEST_SECONDS)
        finally:
            with suppress(ProcessLookupError):  # what the script left in the background
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        return subprocess.CompletedProcess(script, child.returncode, out, err)

    return run


def test_enrolling_members_works_as_written(shell, work) -> None:
    """Founding by three people, keys, adding by two of them and showing; no root key stays in the root's directory."""
    done = shell(commands("docs/how-to/enrol-members.md"))
    assert done.returncode == 0, done.stderr
    assert re.search(r"st-mary +client +US", done.stdout)
    assert not list((work / "root").glob("root-*.key"))


def test_changing_revoking_and_losing_keys_works_as_written(shell, work) -> None:
    """A rotation, revocations, members enrolled anew, rosters that a site takes, and a new root; all logs verify."""
    done = shell(commands("docs/how-to/change-and-revoke-keys.md"))
    assert done.returncode == 0, done.stderr
    assert "revocation 1: bay" in done.stdout
    assert "roster 7 of lab, revoked: hub" in done.stdout
    assert "roster 8 of lab, revoked: nobody" in done.stdout
    assert [path.name for path in (work / "hub/keys/rounds").iterdir()] == []
    assert sorted(path.name for path in (work / "hub/keys-2/rounds").iterdir()) == ["round-2.key", "round-3.key"]


OPEN_AND_SIGN = """
cat > site.toml
python - <<'END'
import os, sys
from pathlib import Path
from semfed_secure.crypto.signing import sign, verify
from semfed_secure.settings import IdentitySection, Section, load_toml
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.cose import MessageType

class File(Section):
    identity: IdentitySection

keys = load_toml(File, Path("site.toml")).identity.load(os.environ)
signed = sign(MessageType.STATEMENT, b"x", keys.signing)
verify(MessageType.STATEMENT, signed, keys.record.signing_keys, limits=Limits(max_bytes=9))
print("signed by", keys.signing.key_id)
END
"""


@pytest.mark.skipif(tokens.library() is None, reason="apt-get install softhsm2 opensc")
def test_keeping_a_signing_key_in_a_token_works_as_written(shell, work) -> None:
    """Token, key, member record; then the section of the page opens the keys and they sign, with the token only."""
    page = "docs/how-to/keep-a-signing-key-in-an-hsm.md"
    done = shell(commands(page).replace("/usr/lib/softhsm/libsofthsm2.so", str(tokens.library())))
    assert done.returncode == 0, done.stderr
    assert "ESP256, ML_DSA_65" in done.stdout
    assert (work / "pin").read_text().strip() not in done.stdout + done.stderr
    (section,) = blocks(page, "toml")
    use = OPEN_AND_SIGN.replace("cat > site.toml", f"cat > site.toml <<'END'\n{section}END")
    environment = f"export PYKCS11LIB={tokens.library()} SOFTHSM2_CONF=$PWD/softhsm2.conf"
    done = shell(f"{environment}\n{use}")
    assert done.returncode == 0, done.stderr
    (key,) = load_member_record(work / "keys").signing_keys
    assert done.stdout == f"signed by {key.key_id}\n"
    for lost in ("rm -r tokens/*", "chmod 644 pin", "rm pin"):
        done = shell(f"{environment}\n{lost}\n{use}")
        assert done.returncode != 0
        assert re.search(r"SF(125|122|102)", done.stderr)


def test_planning_a_budget_works_as_written(shell) -> None:
    """Every cost of the page can be asked for, and the last one says what the page shows."""
    page = "docs/how-to/plan-a-budget.md"
    done = shell(commands(page))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(blocks(page, "console")[0])


def test_writing_a_policy_works_as_written(shell) -> None:
    """Both documents load without a remark on what binds, the cases pass, and the question is denied as shown."""
    page = "docs/how-to/write-a-policy-for-a-new-domain.md"
    done = shell(commands(page))
    assert done.returncode == 0, done.stderr
    assert "north-mutual-claims: 9 of 9 cases pass" in done.stdout
    assert "no case notices" not in done.stdout
    assert done.stdout.endswith(blocks(page, "console")[1])


def test_loosening_is_refused_as_the_policy_page_shows(shell) -> None:
    """The refusal in step 2 is what the command prints."""
    page = "docs/how-to/write-a-policy-for-a-new-domain.md"
    script = (
        commands(page).split("END\nsemfed policy lint insurer.yaml")[0].replace('max_epsilon: "4"', 'max_epsilon: "40"')
    )
    done = shell(f"{script}END\nsemfed policy lint insurer.yaml")
    assert (done.returncode, done.stderr) == (2, blocks(page, "console")[0])


def test_running_a_server_and_taking_part_works_as_written(shell, work) -> None:
    """From an empty directory to an admitted contribution, learned labels and an intact log; only the port differs."""
    from tests.llm.tiny import write_model

    write_model(work / "model", "gemma3")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    done = shell(commands(TAKE_PART).replace(PORT, port))
    assert done.returncode == 0, done.stderr
    for line in ("round-1: trained, epsilon 3.99", "round-1: admitted", "state      published", "intact: bay.example"):
        assert line in done.stdout
    assert re.search(r"round-1: 3 labels learned, (kept|rolled back)", done.stdout)
    assert re.search(
        r"\*\*ε = 3\.9\d+ at δ = 0\.000001\*\*, of a lifetime budget of ε = 8", (work / "bay/card.md").read_text()
    )


def test_the_sample_files_load(work) -> None:
    """The site file and the server file of the how-to page are read by the loaders that read every such file."""
    files = dict(
        re.findall(r"^cat > (\S+\.toml) <<'END'\n(.*?)^END$", commands(TAKE_PART), flags=re.MULTILINE | re.DOTALL)
    )
    for name, text in files.items():
        (work / Path(name).name).write_text(text, encoding="utf-8")
    site, server = load_site_config(work / "site.toml"), load_server_config(work / "server.toml")
    assert site.site.federation == server.server.federation
    assert site.federation.server_id == server.server.member
    assert site.server.url == f"http://127.0.0.1:{server.server.port}"


def test_a_changed_byte_is_found_out_as_the_tutorial_shows(shell, work) -> None:
    """One changed byte of an entry: exit status 12 and the sentence that the page shows."""
    state = work / "demo-run/federation/sites/st-mary/state"
    state.mkdir(parents=True)
    with Database.open(state / "site.db", kind="client") as database:
        key = LogSigningKey.generate("st-mary.example/hospital-coding/st-mary")
        log = AuditLog(database, key=key, clock=SystemClock(), writer="st-mary/client")
        log.append(Event(type=EventType.LOG_STARTED, outcome="success", actor="st-mary"))
        log.checkpoint()
    assert shell(".venv/bin/semfed audit verify demo-run/federation/sites/st-mary/state").returncode == 0
    done = shell(commands(TUTORIAL))
    assert (done.returncode, done.stderr) == (12, blocks(TUTORIAL, "console")[0])


QUESTION = "Symptom: chest pain\nDepartment:"


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/pipeline-steps.md"])
def test_the_python_of_the_pages_runs_as_written(page, tmp_path, monkeypatch) -> None:
    """The example takes part in a round and learns; only the network and the model are replaced."""
    prompts = PromptSet("questions", (Prompt(PromptId("p1"), QUESTION),), ("heart", "skin"))
    settings = SiteSettings(sections={"validation": {"file": "validation.jsonl"}})
    (code,) = blocks(page, "python")
    with LocalFederation(tmp_path, members=["bay"], prompt_sets=[prompts]) as federation:
        federation.open_round("round-7", prompts, min_clients=1)
        monkeypatch.chdir(federation.site("bay"))
        federation.site_file("bay", settings).rename(re.findall(r'open\("([^"]+)"\)', code)[0])
        records = [{"entity_id": person, "prompt": QUESTION, "completion": "heart"} for person in ("1", "2")]
        Path("records.jsonl").write_text("\n".join(map(json.dumps, records)))
        Path("validation.jsonl").write_text(json.dumps({"prompt": QUESTION, "answer": "heart"}))
        opening = partial(Client.open.__func__, transport=federation.transport(), model=TableModel())
        monkeypatch.setattr(Client, "open", classmethod(opening))
        names: dict[str, object] = {}
        exec(compile(code, page, "exec"), names)
        assert names["receipt"].outcome == "admitted"
        with federation.client("bay", settings=settings) as client:
            assert client.join("round-7").state == RoundState.LEARNED
