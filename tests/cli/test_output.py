"""What commands print: one JSON document, or text that nobody can forge."""

from __future__ import annotations

import json
from decimal import Decimal

from semfed_secure.cli.output import emit, printable, table


def test_emit_prints_exactly_one_json_document(capsys) -> None:
    """One line, decimals as strings, and the text is not even built."""
    emit({"epsilon": Decimal("0.10"), "name": "é"}, as_json=True, text=lambda: 1 / 0)
    out = capsys.readouterr().out
    assert json.loads(out) == {"epsilon": "0.10", "name": "é"}
    assert out.count("\n") == 1


def test_emit_prints_text_with_one_final_newline(capsys) -> None:
    """A person gets the text, a shell prompt its own line."""
    emit({}, as_json=False, text="all well")
    assert capsys.readouterr().out == "all well\n"


def test_table_aligns_numbers_to_the_right() -> None:
    """Columns line up, whatever the widths."""
    assert table(["site", "votes"], [["st-mary", 7], ["a", 123]]).splitlines() == [
        "site     votes",
        "-------  -----",
        "st-mary      7",
        "a          123",
    ]


def test_control_characters_of_a_peer_are_shown_not_obeyed() -> None:
    """No cursor movement, no forged line, no bidirectional override."""
    assert printable("ok\x1b[2J\r\nforged\u202e") == "ok\\x1b[2J\\r\\nforged\\u202e"
