"""``python -m semfed_secure.cli`` is ``semfed``."""

from semfed_secure.cli import run

run()
