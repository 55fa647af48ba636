"""The example of the page on robust rules runs as it is written."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/how-to/average-vectors-robustly.md"


def test_the_example_holds_what_it_asserts() -> None:
    """Four liars of ten carry the mean away, and not the geometric median."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, PAGE.name, "exec"), names)
    assert names["held"] < names["lies"]
