"""The public prompt set: the questions of a round, named by the digest of their exact bytes."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from semfed_secure.ids import Digest, PromptId, sha256
from semfed_secure.wire.cbor import Limits, Value
from semfed_secure.wire.schema import NAME, Codec, Message, WireValueError, many, maybe, record, text

MAX_PROMPTS = 20_000
"""Prompts of one set: what a site of two cores can answer in a working day."""
MAX_PROMPT_BYTES = 8 * 1024
MAX_CANDIDATES = 1_000
"""Candidate answers of one prompt; a vote is an int16 index into them."""
MAX_CANDIDATE_BYTES = 512
MAX_PROPOSED = 64
"""Candidates of one prompt that a round of proposals publishes at most."""
PROMPT_SET_LIMITS = Limits(max_bytes=64 * 1024 * 1024, max_items=2_000_000)
"""Far below the product of the limits above: a set near all of them at once is no honest set."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One public question; ``candidates`` are its own allowed labels, empty if the set's apply.

    A site that declares its topics abstains on questions of another ``topic``; one without is for everybody.

    On the wire question and labels are readable (`is_readable`), and no two labels of one question are the same but
    for case, style and outer blanks (`folded`).
    """

    id: PromptId
    text: str
    candidates: tuple[str, ...] = ()
    topic: str | None = None


@dataclass(frozen=True, slots=True)
class PromptSet:
    """An ordered set of public prompts; outputs and results stand in this order.

    Its digest covers every byte: name, ids, texts, candidates, topics, and their order.
    """

    name: str
    prompts: tuple[Prompt, ...]
    candidates: tuple[str, ...] = ()

    @property
    def digest(self) -> Digest:
        """SHA-256 of the encoded set, computed at each call."""
        return sha256(encode_prompt_set(self))

    def candidates_of(self, prompt: Prompt) -> tuple[str, ...]:
        """The labels allowed for ``prompt``; empty where any text is an answer."""
        return prompt.candidates or self.candidates

    @property
    def all_candidates(self) -> tuple[str, ...]:
        """Every label that some prompt allows, each once."""
        return tuple(dict.fromkeys(label for prompt in self.prompts for label in self.candidates_of(prompt)))


def is_readable(text: str) -> bool:
    """Whether a reader sees all of ``text``.

    It is not blank and holds no character of Unicode's category C (controls such as escape and nul, directions, zero
    widths, surrogates, private or unassigned) but line end and tab.
    """
    if not text.strip():
        return False
    if text.replace("\n", " ").replace("\t", " ").isprintable():  # most text; printable is stricter
        return True
    return not any(unicodedata.category(char).startswith("C") for char in set(text) - {"\n", "\t"})


def folded(label: str) -> str:
    """What is left of a label without case, style (NFKC) and outer blanks."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold()).strip()


def encode_prompt_set(prompt_set: PromptSet) -> bytes:
    """The deterministic bytes of ``prompt_set``.

    Raises:
        ConfigurationError: ``SF105`` if a limit of this module is passed, ids repeat, or `Prompt` rules it out.
    """
    return _PROMPT_SET.encode(prompt_set)


def parse_prompt_set(data: bytes) -> PromptSet:
    """Read a prompt set; the caller compares its digest with the manifest's.

    Raises:
        PeerError: ``SF301``, ``SF303``, or ``SF302``, also for what `Prompt` rules out.
    """
    return _PROMPT_SET.parse(data)


def require_distinct(candidates: tuple[str, ...]) -> None:
    """Refuse labels of one question of which a reader takes two for one.

    Raises:
        WireValueError: two are the same but for case, style and outer blanks.
    """
    if len(set(map(folded, candidates))) != len(candidates):
        raise WireValueError("candidates that differ in more than case, style and outer blanks were expected")


def _no_repeats(prompt_set: PromptSet) -> None:
    ids = [prompt.id for prompt in prompt_set.prompts]
    if len(set(ids)) != len(ids):
        raise WireValueError("prompt ids without repeats were expected")
    for candidates in {prompt_set.candidates, *(prompt.candidates for prompt in prompt_set.prompts)}:
        require_distinct(candidates)


def _readable(max_bytes: int) -> Codec[str]:
    plain = text(max_bytes)

    def check(value: Value) -> str:
        found = plain.unpack(value)
        if not is_readable(found):
            raise WireValueError("text without hidden characters, not blank, was expected")
        return found

    return Codec(check, check)


CANDIDATE = _readable(MAX_CANDIDATE_BYTES)
_CANDIDATES = many(CANDIDATE, MAX_CANDIDATES)
_PROMPT = record(
    Prompt,
    {
        1: ("id", text(64, r"[\x21-\x7e]+")),
        2: ("text", _readable(MAX_PROMPT_BYTES)),
        3: ("candidates", _CANDIDATES),
        4: ("topic", maybe(NAME)),
    },
)
_PROMPT_SET = Message(
    "semfed/prompt-set",
    1,
    record(
        PromptSet,
        {2: ("name", NAME), 3: ("prompts", many(_PROMPT, MAX_PROMPTS, 1)), 4: ("candidates", _CANDIDATES)},
        _no_repeats,
    ),
    PROMPT_SET_LIMITS,
)
