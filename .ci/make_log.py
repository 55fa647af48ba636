"""Write a site's state directory with a small audit log in it, for the check of the bare wheel."""

from __future__ import annotations

import sys
from pathlib import Path

from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.log import AuditLog
from semfed_secure.clock import SystemClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.storage import Database

state = Path(sys.argv[1])
state.mkdir(parents=True)
database = Database.open(state / "site.db", kind="client")
key = LogSigningKey.generate("empty-environment.example/check/site")
log = AuditLog(database, key=key, clock=SystemClock(), writer="site/check")
for _ in range(3):
    log.append(Event(type=EventType.LOG_STARTED, outcome="success", actor="site"))
log.checkpoint()
database.close()
(state / "vkey").write_text(key.public.encode(), encoding="utf-8")
