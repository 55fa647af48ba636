"""Every fuzz target by its name."""

from __future__ import annotations

from tests.fuzz import admission_targets, file_targets, wire_targets

TARGETS = {target.name: target for part in (wire_targets, file_targets, admission_targets) for target in part.TARGETS}
