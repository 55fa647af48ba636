"""Admission from outside, byte by byte, and from inside, by members who sign and seal what they changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from semfed_secure.detect import scan
from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.server.round import RoundState
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import commit, encode_contribution, parse_contribution
from semfed_secure.wire.prompts import is_readable
from tests.fuzz import admission_world as world
from tests.fuzz.draw import Draw
from tests.fuzz.forgery import FREE, Stage, draw_forgery
from tests.fuzz.target import Target
from tests.wire.wire_examples import PROMPT_SET

if TYPE_CHECKING:
    from collections.abc import Callable

    from semfed_secure.server.admission import AdmissionContext, AdmittedBundle
    from tests.fuzz.forgery import Forgery

_STEPS_OF_CONTENT = {"SF313", "SF314", "SF315"}


_STATES = {
    Stage.VOTES: RoundState.COLLECTING,
    Stage.COMMITTING: RoundState.COLLECTING,
    Stage.OPENING: RoundState.OPENING,
}


def _context(stage: Stage, standing: bytes | None) -> AdmissionContext:
    return replace(world.context(stage.kind, _STATES[stage]), standing=lambda _member: standing)


def _body(stage: Stage) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        digest = world.honest_body(stage.kind)[1]
        context = _context(stage, digest if stage is Stage.OPENING else None)
        if stage is Stage.COMMITTING:
            assert world.judge_statement(data, context).statement.digest == digest, "nobody signed this"
        else:
            assert world.judge(data, context).payload == world.PAYLOADS[stage.kind], "nobody answered this"

    return run


def _commitment() -> list[bytes]:
    return [encode_contribution(replace(parse_contribution(world.honest_body(OutputKind.TEXT)[0]), sealed=()))]


def _forged(data: bytes) -> None:
    made = draw_forgery(Draw(data))
    try:
        body, said, plaintext = made.body()
    except ConfigurationError as error:
        if error.code != "SF105":
            raise
        return  # our own encoder would not even say it
    standing = said.digest if made.stage is Stage.OPENING else None
    if made.standing is not None:
        standing = made.standing if made.standing != said.digest else bytes(byte ^ 1 for byte in said.digest)
    context = _context(made.stage, standing)
    try:
        if made.stage is Stage.COMMITTING:
            made.broken = {step for step in made.broken if step <= 10}
            world.judge_statement(body, context)
            assert not made.broken, made.broken
        else:
            _check_admitted(made, world.judge(body, context), plaintext)
    except PeerError as refusal:
        _check_refusal(made, refusal.code)
        raise


def _check_refusal(made: Forgery, code: str) -> None:
    certain = min(made.broken - {FREE}, default=FREE)
    expected = "SF314" if certain == 12.5 else f"SF3{int(certain):02d}"
    if FREE in made.broken:
        assert code == expected or (code in _STEPS_OF_CONTENT and certain > 12), (code, made.broken)
    else:
        assert code == expected, (code, made.broken)


def _check_admitted(made: Forgery, bundle: AdmittedBundle, plaintext: bytes) -> None:
    assert made.broken <= {FREE}, made.broken
    payload = bundle.payload
    assert bundle.payload_bytes == plaintext
    assert commit(payload.salt, plaintext) == bundle.statement.commitment
    assert len(payload.votes or payload.texts) == len(PROMPT_SET.prompts)
    for vote, prompt in zip(payload.votes, PROMPT_SET.prompts, strict=False):
        assert -1 <= vote < len(PROMPT_SET.candidates_of(prompt))
    assert all(text is None or (is_readable(text) and not scan(text)) for text in payload.texts)


TARGETS = (
    Target(
        "admission_votes",
        _body(Stage.VOTES),
        lambda: [world.honest_body(OutputKind.VOTES)[0]],
        longest=16_384,
        tree=True,
    ),
    Target(
        "admission_text",
        _body(Stage.OPENING),
        lambda: [world.honest_body(OutputKind.TEXT)[0]],
        longest=16_384,
        tree=True,
    ),
    Target("admission_commitment", _body(Stage.COMMITTING), _commitment, longest=16_384, tree=True),
    Target("forged_contribution", _forged, lambda: [bytes(4), b"\1\0\1\0"], 256),
    Target(
        "scan",
        lambda data: scan(data.decode("utf-8", errors="replace")),
        lambda: [b"SSN 123-45-6789", b"card 4111 1111 1111 1111", b"mail bob@example.com, DOB 1970-01-02"],
        longest=256,
        words=("MRN", "IBAN DE89370400440532013000", "account no.", "NPI", "DEA", "@", "http://", "::1", "\u200b"),
    ),
)
