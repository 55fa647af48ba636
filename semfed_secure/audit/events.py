"""The closed catalogue of audited events, and the exact bytes of a log entry.

An entry is one RFC 8785 JSON object: the event, and around it ``v`` (format), ``seq`` (its number in the log),
``time`` (UTC) and ``writer``. It states what happened, to whom, under which policy and at what privacy cost. It
never holds prompts, outputs, records or raw identifiers of people: the fields are closed, and so are their details.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self, TypeAlias, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from semfed_secure.audit.catalogue import DETAILS, EventType
from semfed_secure.errors import CATALOGUE, ConfigurationError, IntegrityError, SemfedError

__all__ = ["Entry", "Event", "EventType", "PrivacyFields", "encode_entry", "parse_entry", "reason_of", "sentence"]

FORMAT = 1
MAX_ENTRY_BYTES = 60 * 1024
"""Entry bundles of C2SP tlog-tiles carry 16-bit lengths; the rest is left for what outside tools add."""
MAX_INTEGER = 2**53 - 1
"""RFC 8785 numbers are exact up to here."""

# At C speed, and equal to RFC 8785 for what an entry holds: no floats, integers below 2**53, ASCII keys.
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
_UNSAID: tuple[object, ...] = (None, (), {})  # defaults of the fields of an event
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\Z")
# An absolute path, of either kind of system, bare or as a URL of this machine: not a fraction, a name or a web address.
_PART = r"""[^\s'"`<>|*?;,()\\/]+"""
_PATH = re.compile(
    rf"(?:\b(?:sqlite|file)[+\w]*:/+|(?<![\w.:/\\)~-])(?:~|[A-Za-z]:)?[\\/](?=[^\s]))"
    rf"(?:{_PART}(?: {_PART}){{0,3}}[\\/]+)*(?:{_PART})?"
)
_FRAME_BYTES = 2 * 1024  # room for number, time and writer around the event
_SENTENCE_LENGTH = 1_000
_SMALL: dict[str, bool] = {"is small": True}  # says of an event that its entry is too short to be too large
_MAX_ITEMS = 200


def check_writer(name: str) -> str:
    """Accept only a name that fits into the frame of an entry.

    Raises:
        ValueError: it is empty, longer than 256 characters, or not printable.
    """
    if not 1 <= len(name) <= 256:
        raise ValueError("a writer has a name of at most 256 characters")
    return _printable(name)


def _printable(text: str) -> str:
    # An entry is read by people: nothing may move, hide or break the text around it.
    if not text.isprintable():
        raise ValueError("control, direction and invisible characters do not belong in an audit entry")
    return text


def sentence(text: str) -> str:
    """``text`` as an entry can hold it: on one line, without hidden characters or paths, at most 1,000 characters.

    The path of a file on somebody's machine names people as often as not, and means nothing to who reads the log.
    """
    if "/" in text or "\\" in text:
        text = _PATH.sub("(path)", text[: 4 * _SENTENCE_LENGTH])
    if not text.isprintable():
        text = "".join(character for character in " ".join(text.split()) if character.isprintable())
    return text if len(text) <= _SENTENCE_LENGTH else text[: _SENTENCE_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"


def reason_of(error: SemfedError) -> str:
    """Why something failed, as an entry may say it.

    What the operator can mend is said to the operator in full, with files and lines; an entry names the kind only.
    """
    if isinstance(error, ConfigurationError) or "cause" in error.fields:
        return CATALOGUE[error.code].title
    return error.message


Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_printable)]
Sentence: TypeAlias = Annotated[str, AfterValidator(sentence)]
DigestText: TypeAlias = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}\z")]
CodeText: TypeAlias = Annotated[str, Field(pattern=r"^[A-Z]{2,16}-?[0-9]{1,4}\z")]
"""``SF202`` of our catalogue, ``DP-002`` of a policy."""
DecimalText: TypeAlias = Annotated[
    str, Field(pattern=r"^([0-9]{1,15}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?|Infinity)\z")
]
Count: TypeAlias = Annotated[int, Field(ge=0, le=MAX_INTEGER)]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PrivacyFields(_Document):
    """What an event did to a population's privacy budget; decimals are text.

    Attributes:
        population: Whose data.
        epsilon: Lifetime total of the population **after** the event, at ``delta``.
        delta: At which δ the totals hold.
        unit: Whose presence the guarantee hides.
        relation: Which data sets count as neighbours.
        cost: By how much this event raised the total, or would have raised it if it was refused.
        remaining: What the tightest budget leaves after the event.
        mechanism: How outputs were protected.
    """

    population: Name
    epsilon: DecimalText
    delta: DecimalText
    unit: Name
    relation: Name
    cost: DecimalText | None = None
    remaining: DecimalText | None = None
    mechanism: Name | None = None


class Event(_Document):
    """One thing that happened.

    Guarantee: an event that can be built can be written: its fields are typed, bounded, printable and closed, and its
    entry is never larger than `MAX_ENTRY_BYTES`.

    Attributes:
        type: What happened.
        outcome: Whether it succeeded, was denied on purpose, or failed.
        actor: Who acted: a member id, or an operator's name.
        target: What was acted on: a data set, model, key, file.
        round_id: In which round.
        peer: Which other member was involved.
        peer_entry: Number of the peer's own log entry about the same thing.
        bundle_digest: Digest of the contribution statement.
        policy_id: Which policy decided.
        policy_digest: Its digest, which pins the version.
        codes: Codes of errors and of policy reasons.
        privacy: What it did to a privacy budget.
        reason: One sentence for a reader without our source.
        details: Further facts, by the keys that `DETAILS` allows for the type.
    """

    type: Annotated[EventType, Field(strict=False)]
    outcome: Literal["success", "denied", "failed"]
    actor: Name
    target: Name | None = None
    round_id: Name | None = None
    peer: Name | None = None
    peer_entry: Count | None = None
    bundle_digest: DigestText | None = None
    policy_id: Name | None = None
    policy_digest: DigestText | None = None
    codes: Annotated[tuple[CodeText, ...], Field(strict=False, max_length=64)] = ()
    privacy: PrivacyFields | None = None
    reason: Sentence | None = None
    details: Annotated[Mapping[str, Any], Field(strict=False)] = Field(default_factory=dict)

    @field_validator("details", mode="after")
    @classmethod
    def _clean_details(cls, details: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
        allowed = DETAILS.get(info.data.get("type", ""), {})  # an unknown type has its own error already
        unknown = sorted(details.keys() - allowed.keys())
        if unknown:
            raise ValueError(f"this event has no detail {unknown[0]!r}")
        return {key: _clean(key, value, allowed[key]) for key, value in details.items()}

    @model_validator(mode="after")
    def _check_size(self, info: ValidationInfo) -> Self:
        if info.context is _SMALL or not self.details:
            return self
        if len(self.model_dump_json().encode()) > MAX_ENTRY_BYTES - _FRAME_BYTES:
            raise ValueError(f"an event has at most {MAX_ENTRY_BYTES - _FRAME_BYTES} bytes")
        return self


def _clean(key: str, value: object, kind: type) -> object:
    """The detail as an entry holds it: sentences on one line, lists and counts bounded."""
    if kind is str and isinstance(value, str):
        return sentence(value)
    if kind is list and isinstance(value, list | tuple) and len(value) <= _MAX_ITEMS:
        return [_clean(key, item, str) for item in value]
    if kind is dict and isinstance(value, Mapping) and len(value) <= _MAX_ITEMS:
        if not all(isinstance(name, str) and name.isascii() and name.isprintable() for name in value):
            raise ValueError(f"detail {key!r} counts by plain ASCII names")
        return {name: _clean(key, count, int) for name, count in value.items()}
    if type(value) is kind and (kind is bool or (kind is int and abs(cast("int", value)) <= MAX_INTEGER)):
        return value
    raise ValueError(f"detail {key!r} must be a bounded {kind.__name__}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as it stands in a log.

    Attributes:
        seq: Number of the entry, counted from zero.
        time: When it was written, RFC 3339 in UTC with milliseconds.
        writer: Which program of which member wrote it.
        event: What happened.
    """

    seq: int
    time: str
    writer: str
    event: Event

    @property
    def at(self) -> datetime:
        """`time` as an aware datetime."""
        return datetime.fromisoformat(self.time)


@dataclass(frozen=True, slots=True)
class Draft:
    """An event in the bytes of its entry, with room left for its number and time, which only the sequencer knows."""

    before: str
    between: str
    after: str
    type: EventType

    def entry(self, seq: int, time: str) -> bytes:
        """The RFC 8785 bytes of the entry."""
        return f"{self.before}{seq}{self.between}{time}{self.after}".encode()


def _told(document: _Document) -> dict[str, Any]:
    # What `model_dump` finds as well, which goes deeper and takes thrice as long.
    return {name: value for name, value in document.__dict__.items() if value not in _UNSAID}


def draft(event: Event, writer: str) -> Draft:
    """All of an entry that does not wait for its turn."""
    fields = _told(event)
    if event.privacy is not None:
        fields["privacy"] = _told(event.privacy)
    fields |= {"v": FORMAT, "seq": 0, "time": "", "writer": writer}
    # Keys are sorted: behind `seq` and `time` only texts follow, and in a text every quotation mark is escaped.
    before, seq, rest = _ENCODER.encode(fields).rpartition(',"seq":0')
    between, time, after = rest.rpartition(',"time":"')
    return Draft(before + seq[:-1], between + time, after, event.type)


def encode_entry(entry: Entry) -> bytes:
    """The RFC 8785 bytes of an entry."""
    return draft(entry.event, entry.writer).entry(entry.seq, entry.time)


def parse_entry(body: bytes) -> Entry:
    """Read an entry back.

    Guarantee: an accepted entry is exactly what `encode_entry` writes for it.

    Raises:
        IntegrityError: ``SF501``.
    """
    try:
        fields = json.loads(body.decode())
        version, seq, time, writer = (fields.pop(name) for name in ("v", "seq", "time", "writer"))
        context = _SMALL if len(body) < MAX_ENTRY_BYTES - 2 * _FRAME_BYTES else None
        entry = Entry(seq, time, check_writer(writer), Event.model_validate(fields, context=context))
        sound = version == FORMAT and type(seq) is int and seq >= 0 and _TIME.match(time) and entry.at
        if sound and encode_entry(entry) == body:
            return entry
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # pydantic's error is a ValueError
        pass
    raise IntegrityError("SF501", "an entry is not one that this software writes")
