"""Everything that was said in a world, in order; kept in memory, and written to files on demand."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from semfed_secure.errors import SemfedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from semfed_secure.clock import Clock


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call: what was asked at one end of a member's line, and what came back there.

    Attributes:
        end: ``member`` for what the member said and saw, ``server`` for what arrived at the honest server.
        asked: The arguments that are no messages: a round, a digest, sizes.
        sent: The message that was sent, if one was.
        answered: The message that came back, if one did.
        refused: Code of the refusal that came back in its place.
    """

    at_ms: int
    end: str
    member: str
    call: str
    asked: tuple[str, ...]
    sent: bytes | None = None
    answered: bytes | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """One step of a member and how it ended: ``done``, or the code of the refusal."""

    member: str
    round_id: str
    step: str
    ended: str


@dataclass(slots=True)
class Transcript:
    """All exchanges and acts of one world."""

    exchanges: list[Exchange] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)

    def outline(self) -> list[tuple[str, ...]]:
        """Who did what, in which order, with which end: what equal seeds make equal; keys and signatures differ."""
        lines = [(each.end, each.member, each.call, each.refused or "") for each in self.exchanges]
        return lines + [(each.member, each.round_id, each.step, each.ended) for each in self.acts]

    def posted(self, *, end: str, member: str | None = None) -> list[Exchange]:
        """Every post at one end, of one member or of all."""
        return [
            each for each in self.exchanges if each.call == "post" and each.end == end and member in {None, each.member}
        ]

    def dump(self, directory: Path) -> None:
        """Write each message as a file, and ``transcript.json`` that says where in the run it belongs."""
        messages = directory / "messages"
        messages.mkdir(parents=True, exist_ok=True)
        rows: list[dict[str, Any]] = []
        for number, each in enumerate(self.exchanges):
            row: dict[str, Any] = asdict(each)
            for part in ("sent", "answered"):
                if row[part] is not None:
                    path = messages / f"{number:05d}-{each.end}-{each.member}-{each.call}.{part}"
                    path.write_bytes(row[part])
                    row[part] = path.relative_to(directory).as_posix()
            rows.append(row)
        document = {"exchanges": rows, "acts": [asdict(act) for act in self.acts]}
        (directory / "transcript.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


class Recorder:
    """A `Transport` that passes every call on and writes it down."""

    def __init__(self, inner: Any, *, end: str, member: str, transcript: Transcript, clock: Clock) -> None:
        """Record one end of one member's line."""
        self._inner, self._end, self._member = inner, end, member
        self._transcript, self._clock = transcript, clock

    def __getattr__(self, call: str) -> Callable[..., Any]:
        """The inner call, recorded: whatever the interface offers."""
        ask = getattr(self._inner, call)

        def recorded(*arguments: Any) -> Any:
            sent = next((argument for argument in arguments if is_message(call, argument)), None)
            asked = tuple(_printed(argument) for argument in arguments if argument is not sent)
            common = {
                "at_ms": round(self._clock.now().timestamp() * 1000),
                "end": self._end,
                "member": self._member,
                "call": call,
                "asked": asked,
                "sent": sent,
            }
            try:
                answer = ask(*arguments)
            except SemfedError as error:
                refused = str(error.fields.get("server_code") or error.code)
                self._transcript.exchanges.append(Exchange(**common, refused=refused))
                raise
            self._transcript.exchanges.append(Exchange(**common, answered=_bytes(answer)))
            return answer

        return recorded


def is_message(call: str, argument: object) -> bool:
    """Whether an argument is a message that is sent; a digest that is asked for is none."""
    return isinstance(argument, bytes) and call != "prompts"


def _printed(argument: object) -> str:
    return argument.hex() if isinstance(argument, bytes) else str(argument)


def _bytes(answer: object) -> bytes:
    if isinstance(answer, bytes):
        return answer
    return answer.encode() if isinstance(answer, str) else repr(answer).encode()
