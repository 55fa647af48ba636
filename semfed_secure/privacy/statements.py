"""What the table of mechanisms promises, for a reader of a card instead of the code."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

from semfed_secure.privacy.mechanisms import COSTS

if TYPE_CHECKING:
    from semfed_secure.units import Mechanism

_PARTS = {
    "privacy_unit": "Privacy unit",
    "sensitivity": "Sensitivity",
    "guarantee": "Guarantee",
    "assumes": "Assumes",
}


def statement_of(mechanism: Mechanism) -> dict[str, str]:
    """Unit, sensitivity, guarantee and assumptions of a mechanism, as its row of `mechanisms.COSTS` states them.

    They are the very lines of its docstring, so that the card and the code cannot say two things. An interpreter that
    was told to drop docstrings (``-OO``) has none.
    """
    text = inspect.getdoc(COSTS[mechanism]) or ""
    any_part = "|".join(_PARTS.values())
    found = dict(re.findall(rf"^({any_part}): (.*?)(?=^(?:{any_part}): |^\s*$|\Z)", text, re.MULTILINE | re.DOTALL))
    return {key: " ".join(found[name].split()) for key, name in _PARTS.items() if name in found}
