"""The page on sending the log to a SIEM does as it is written."""

from __future__ import annotations

import json

from semfed_secure.audit.exporters.formats import FormatName
from semfed_secure.audit.exporters.ocsf import VERSION
from tests.audit.exporters.receivers import Certificates, receiving
from tests.docs.test_examples import ROOT, blocks, shell, work

__all__ = ["shell", "work"]
PAGE = "docs/how-to/send-the-audit-log-to-a-siem.md"


def test_sending_the_log_to_a_siem_works_as_written(shell, work, tmp_path) -> None:
    """Files by a cursor, then a receiver over TLS; only its port is another."""
    certificates = Certificates(tmp_path / "tls")
    (work / "receiver-ca.pem").write_bytes(certificates.ca.read_bytes())
    prepare, export, send = blocks(PAGE, "sh")
    done = shell(prepare)
    assert done.returncode == 0, done.stderr
    done = shell(export)
    assert (done.returncode, done.stdout) == (0, blocks(PAGE, "console")[0])
    events = [json.loads(line) for line in (work / "monday.jsonl").read_text().splitlines()]
    assert [event["metadata"]["event_code"] for event in events] == ["log.started", "log.exported"]
    assert not (work / "tuesday.jsonl").exists()
    with receiving(certificates.issue("127.0.0.1")) as receiver:
        done = shell(send.replace("6514", str(receiver.port)))
    assert done.returncode == 0, done.stderr
    assert len(receiver.received) == 3
    done = shell("semfed audit verify state --known siem.cursor --known soc.cursor")
    assert "extends all 2 checkpoints" in done.stdout


def test_the_page_names_every_format_and_its_version() -> None:
    """What each leaves out is told for all of them."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for name in FormatName:
        assert f"| `{name}`" in text
    assert f"OCSF {VERSION}" in text
