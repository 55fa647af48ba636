"""The page on witnessing does as it is written."""

from __future__ import annotations

import socket

from semfed_secure.policy.document import PeerLimits
from semfed_secure.policy.strict_yaml import parse_yaml
from tests.docs.test_examples import PORT, TAKE_PART, blocks, shell, work

__all__ = ["shell", "work"]
PAGE = "docs/how-to/witness-the-log.md"


def test_witnessing_a_log_works_as_written(shell, work) -> None:
    """No round opens before the witness has vouched; then one does, and the witness's own log says so."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    founding, serve, announce = blocks(TAKE_PART, "sh")[:3]
    enrol, watch = blocks(PAGE, "sh")
    (section,) = blocks(PAGE, "toml")
    serve = serve.replace("[rounds]\n", section)
    assert "min_witnesses = 1" in serve
    prompts = announce.partition("semfed round open")[0]
    too_early = announce.removeprefix(prompts).replace("cat round\n", "")
    listed = "semfed audit list court/state"
    parts = [founding, enrol, serve, prompts, f"if {too_early}then exit 9; fi", watch, announce, listed]
    done = shell("\n".join(parts).replace(PORT, port))
    assert done.returncode == 0, done.stderr
    assert "SF330" in done.stderr
    assert "vouched for hub.example/lab/hub at size" in done.stdout
    assert "prompt_set_digest" in done.stdout
    assert "as a witness vouched for the log of hub" in done.stdout


def test_the_policy_of_the_page_is_one() -> None:
    """Its limit is a limit of policies."""
    (block,) = blocks(PAGE, "yaml")
    assert PeerLimits.model_validate(parse_yaml(block).value["limits"]["peers"]).min_witnesses == 1
