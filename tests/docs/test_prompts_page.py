"""The page on reviewing a prompt set does as it is written."""

from __future__ import annotations

import re

from tests.docs.test_examples import TAKE_PART, blocks, commands, shell, work

__all__ = ["shell", "work"]
PAGE = "docs/how-to/review-a-prompt-set.md"


def test_reviewing_a_prompt_set_works_as_written(shell, work) -> None:
    """The table is the one that the page shows, the report is private, and the decision is in a log that verifies."""
    founding, _, _, policy, site = blocks(TAKE_PART, "sh")[:5]
    told = f"mkdir server\necho 'prompt_set_digest  sha256:{'0' * 64}' > round"
    done = shell(f"{told}\n{founding}\n{policy}\n{site}")
    assert done.returncode == 0, done.stderr
    done = shell(f"{commands(PAGE)}\nls -l bay/state/reviews\nsemfed audit verify bay/state\n")
    assert done.returncode == 0, done.stderr
    (shown,) = blocks(PAGE, "console")
    assert shown in re.sub("sha256:[0-9a-f]{64}", "sha256:DIGEST", done.stdout)
    assert "refused by Sam Rivera as privacy_officer" in done.stdout
    assert re.search(r"-rw------- .*\.md$", done.stdout, flags=re.MULTILINE)
    assert "intact: bay.example" in done.stdout
