"""Write a log of every event with every outcome in every format, for `tests/vectors/second_opinion_exports.py`."""

from __future__ import annotations

import sys
from pathlib import Path

from semfed_secure.audit.exporters.formats import FORMATS
from tests.audit.exporters.examples import every_record, written


def main(directory: Path) -> None:
    """One file for each format, by its name, and the entries themselves."""
    directory.mkdir(parents=True, exist_ok=True)
    records = every_record()
    for name, form in FORMATS.items():
        with (directory / name.value).open("w", encoding="utf-8", newline="") as file:
            file.write(written(form, records))
    (directory / "entries").write_text("".join(f"{record.body}\n" for record in records), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
