"""A syslog server of another maker takes what we send over TLS, confirms it, and reads in it what the log holds."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from semfed_secure.audit.exporters.formats import FORMATS, FormatName
from semfed_secure.audit.exporters.receiver import SyslogReceiver, parse_address, receiver_context
from semfed_secure.audit.exporters.record import FRAME, as_text
from semfed_secure.audit.wording import describe
from semfed_secure.clock import SystemClock
from semfed_secure.identity.tls import OwnCertificate
from tests.audit.exporters.examples import every_record
from tests.audit.exporters.receivers import Certificates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RSYSLOGD = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin")
CONFIGURATION = """
global(workDirectory="{here}" maxMessageSize="128k" defaultNetstreamDriver="ossl"
    defaultNetstreamDriverCAFile="{ca}" defaultNetstreamDriverCertFile="{certificate}"
    defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
module(load="mmpstrucdata")
input(type="imtcp" port="{port}" address="127.0.0.1")
action(type="mmpstrucdata")
template(name="line" type="list" option.jsonf="on") {{
    property(outname="data" name="$!rfc5424-sd" format="jsonf")
    property(outname="host" name="hostname" format="jsonf")
    property(outname="kind" name="msgid" format="jsonf")
    property(outname="facility" name="syslogfacility" format="jsonf")
    property(outname="severity" name="syslogseverity" format="jsonf")
    property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
    property(outname="text" name="msg" format="jsonf")
}}
action(type="omfile" file="{out}" template="line")
"""


@contextmanager
def rsyslog(directory: Path, certificates: Certificates) -> Iterator[tuple[str, Path]]:
    """While it lasts, rsyslog listens; its address and the file that it writes."""
    certificate, key = certificates.issue("127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    out, file = directory / "received", directory / "rsyslog.conf"
    names = {"ca": certificates.ca, "certificate": certificate, "key": key, "out": out}
    file.write_text(CONFIGURATION.format(here=directory, port=port, **names))
    with (directory / "said").open("wb") as said:
        command = [str(RSYSLOGD), "-n", "-f", str(file), "-i", str(directory / "pid")]
        child = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        for _ in range(200):
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert child.poll() is None, (directory / "said").read_text()
            time.sleep(0.05)
        yield f"tls://127.0.0.1:{port}", out
    finally:
        child.terminate()
        child.wait(20)


@pytest.mark.skipif(RSYSLOGD is None, reason="apt-get install rsyslog rsyslog-openssl")
def test_rsyslog_takes_every_event_and_reads_it_as_the_log_has_it(tmp_path: Path) -> None:
    """Every type with every outcome: facility, severity, time, host and id, and each field of the structured data."""
    records = every_record()
    certificates = Certificates(tmp_path / "tls")
    message = FORMATS[FormatName.SYSLOG].message
    assert message is not None
    with rsyslog(tmp_path, certificates) as (address, out):
        own = OwnCertificate(*certificates.issue("north.example"))
        context = receiver_context(own, ca=certificates.ca, environ={}, now=SystemClock().now())
        sending = SyslogReceiver(parse_address(address), message, context=context, sleep=lambda _: pytest.fail("again"))
        sending.open("log")
        assert sending.deliver(records[:100])
        assert sending.deliver(records[100:])
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == len(records)
    for line, record in zip(lines, records, strict=True):
        event = record.entry.event
        assert (line["facility"], line["kind"], line["host"]) == ("13", event.type.value, record.log)
        assert line["severity"] == {"success": "6", "denied": "4", "failed": "3"}[event.outcome]
        assert line["time"] == record.entry.time
        assert line["text"].removeprefix("\ufeff") == describe(event)
        expected = {name: as_text(value) for name, value in record.fields.items() if name not in FRAME}
        expected |= {"log": record.log, "index": str(record.entry.seq), "leaf_hash": record.leaf_hash}
        assert json.loads(line["data"]) == {"semfed@32473": expected}
