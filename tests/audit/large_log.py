"""Write the log that outside tools verify: ``python -m tests.audit.large_log DIRECTORY``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.proofs import make_proof
from semfed_secure.audit.sources import open_source
from semfed_secure.audit.tiles import export_tiles
from semfed_secure.clock import FixedClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.storage import Database
from tests.audit.samples import START, sample

SIZE = 10_000
KEY = LogSigningKey("hospitals.example/large", b"\x03" * 32, b"\x04" * 32)


def write(directory: Path, *, size: int = SIZE) -> Path:
    """Export a log of ``size`` entries, and a proof file for one in a thousand of them."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "site.db"
        with Database.open(path, kind="client") as database:
            log = AuditLog(database, key=KEY, clock=FixedClock(START), writer="north/client")
            log.append_all([sample(number) for number in range(size)])
            checkpoint = log.checkpoint()
            with database.snapshot() as tx:
                export_tiles(tx, checkpoint=checkpoint, verification_key=KEY.public.encode(), directory=directory)
        with open_source(path) as source:
            for index in [*range(0, size, 1000), size - 1]:
                (directory / f"{index}.tlog-proof").write_text(make_proof(source, index, KEY.public))
    return directory


if __name__ == "__main__":
    write(Path(sys.argv[1]))
