"""The black-box adapter against a real HTTP server on this machine."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.llm.model import Model
from semfed_secure.llm.remote import ATTEMPTS, RemoteModel

if TYPE_CHECKING:
    from collections.abc import Iterator

CANDIDATES = ("cardiology", "neurology", "lung")


class Endpoint:
    """An OpenAI-compatible endpoint with a small rule instead of a model."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any], str | None]] = []
        self.failures: list[int] = []
        self.chat = lambda prompt: f"about {prompt}"
        self.raw: bytes | None = None
        self.url = ""

    def respond(self, path: str, body: dict[str, Any], key: str | None) -> tuple[int, bytes]:
        self.requests.append((path, body, key))
        if self.failures:
            return self.failures.pop(0), b'{"error": "busy"}'
        if self.raw is not None:
            return 200, self.raw
        if path == "/v1/chat/completions":
            content = self.chat(body["messages"][0]["content"])
            return 200, json.dumps({"choices": [{"message": {"content": content}}]}).encode()
        choices = [_echo(index, text) for index, text in enumerate(body["prompt"])]
        return 200, json.dumps({"choices": choices[::-1]}).encode()


def _echo(index: int, text: str) -> dict[str, Any]:
    """One token per word; a word is the likelier the shorter it is; a generated token follows."""
    offsets, values, at = [], [], 0
    for number, word in enumerate(text.split(" ")):
        offsets.append(max(at - 1, 0))
        values.append(None if number == 0 else -float(len(word)))
        at += len(word) + 1
    return {
        "index": index,
        "text": text + " end",
        "logprobs": {"text_offset": [*offsets, len(text)], "token_logprobs": [*values, -1000.0]},
    }


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[Endpoint]:
    """The endpoint on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, answer = endpoint.respond(self.path, body, self.headers.get("authorization"))
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield endpoint
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """A running endpoint."""
    with serving(Endpoint()) as running:
        yield running


@contextmanager
def connected(endpoint: Endpoint, **settings: Any) -> Iterator[RemoteModel]:
    """The adapter that asks it, without waiting between attempts."""
    model = RemoteModel(endpoint.url, model="m", sleep=lambda seconds: None, **settings)
    try:
        yield model
    finally:
        model.close()


def test_is_a_model(endpoint: Endpoint) -> None:
    """The adapter is a `Model`, so it can take part."""
    with connected(endpoint) as model:
        assert isinstance(model, Model)


def test_answers_come_in_the_order_of_the_prompts(endpoint: Endpoint) -> None:
    """Answers stand at the index of their prompt although requests run in parallel, at temperature 0."""
    prompts = [f"prompt {number}" for number in range(20)]
    with connected(endpoint, api_key="k") as model:
        assert model.answer(prompts, max_new_tokens=7) == [f"about {prompt}" for prompt in prompts]
    path, body, key = endpoint.requests[0]
    assert (path, key) == ("/v1/chat/completions", "Bearer k")
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0, 7)


def test_an_empty_answer_abstains(endpoint: Endpoint) -> None:
    """White space only is no answer."""
    endpoint.chat = lambda prompt: "  \n"
    with connected(endpoint) as model:
        assert model.answer(["a"], max_new_tokens=5) == [None]


@pytest.mark.parametrize(
    ("said", "best"),
    [("2", 1), ("Neurology.", 1), ("3. lung", 2), ("the answer is 1", 0), ("neither", None), ("0", None), ("44", None)],
)
def test_choice_reads_the_number_or_the_name(endpoint: Endpoint, said: str, best: int | None) -> None:
    """`choice` scores 0 for what was chosen and -inf elsewhere; an answer off the list abstains."""
    endpoint.chat = lambda prompt: said
    with connected(endpoint) as model:
        row = model.score(["chest pain"], CANDIDATES)[0]
    assert [index for index, value in enumerate(row) if np.isfinite(value)] == ([] if best is None else [best])


def test_a_candidate_that_is_called_like_a_place_of_the_list_catches_no_votes(endpoint: Endpoint) -> None:
    """What was asked for is a number: `1` is the first candidate, whoever proposed `1` as an answer."""
    endpoint.chat = lambda prompt: "1."
    with connected(endpoint) as model:
        row = model.score(["chest pain"], ("angina", "1"))[0]
    assert np.isfinite(row).tolist() == [True, False]


def test_likelihood_sums_the_candidate_only(endpoint: Endpoint) -> None:
    """The prompt's tokens and what the endpoint generated after the candidate do not count."""
    with connected(endpoint, scoring="likelihood") as model:
        scores = model.score(["some longish prompt", "x"], ("aaa bb", "c"))
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, [[-5.0, -1.0], [-5.0, -1.0]])


def test_likelihood_of_an_endpoint_without_echo_is_refused(endpoint: Endpoint) -> None:
    """An endpoint that gives no log-probabilities is a coded error that names the other way."""
    endpoint.raw = b'{"choices": [{"index": 0, "text": "c"}, {"index": 1, "text": "d"}]}'
    with connected(endpoint, scoring="likelihood") as model, pytest.raises(PeerError, match="choice") as caught:
        model.score(["x"], ("c", "d"))
    assert caught.value.code == "SF343"


@pytest.mark.parametrize(("index", "value"), [("1e400", "-1"), ("0", "-1" + "0" * 400)], ids=["index", "value"])
def test_a_likelihood_that_is_no_number_is_a_coded_error(endpoint: Endpoint, index: str, value: str) -> None:
    """A figure beyond what floats or counts hold is refused, not a crash."""
    choice = f'{{"index": {index}, "logprobs": {{"text_offset": [1], "token_logprobs": [{value}]}}}}'
    endpoint.raw = f'{{"choices": [{choice}]}}'.encode()
    with connected(endpoint, scoring="likelihood") as model, pytest.raises(PeerError) as caught:
        model.score(["x"], ("c",))
    assert caught.value.code == "SF343"


def test_an_overloaded_endpoint_is_asked_again(endpoint: Endpoint) -> None:
    """429 and 503 are repeated; the answer is the same."""
    endpoint.failures = [429, 503]
    with connected(endpoint) as model:
        assert model.answer(["a"], max_new_tokens=5) == ["about a"]
    assert len(endpoint.requests) == 3


def test_an_endpoint_that_stays_down_is_a_coded_error(endpoint: Endpoint) -> None:
    """A failed answer raises; it never becomes an abstention."""
    endpoint.failures = [500] * ATTEMPTS
    with connected(endpoint) as model, pytest.raises(PeerError) as caught:
        model.answer(["a"], max_new_tokens=5)
    assert (caught.value.code, caught.value.retryable) == ("SF343", True)


@pytest.mark.parametrize(
    "raw", [b"no json", b"[1]", b'{"choices": []}', b"\xff", b"[" * 100_000, b'{"choices": ' + b"1" * 5_000 + b"}"]
)
def test_a_malformed_answer_is_a_coded_error(endpoint: Endpoint, raw: bytes) -> None:
    """Whatever an endpoint sends, the error is ours."""
    endpoint.raw = raw
    with connected(endpoint) as model, pytest.raises(PeerError) as caught:
        model.answer(["a"], max_new_tokens=5)
    assert caught.value.code == "SF343"


def test_a_refusal_does_not_repeat_the_text(endpoint: Endpoint) -> None:
    """The body of a refusal may quote the question: it is not in the message."""
    endpoint.failures = [400]
    with connected(endpoint) as model, pytest.raises(PeerError) as caught:
        model.answer(["secret phrase"], max_new_tokens=5)
    assert "secret" not in str(caught.value)
    assert "busy" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://models.example/v1", "ftp://127.0.0.1/v1", "models.example"])
def test_plain_http_leaves_this_machine_never(url: str) -> None:
    """An endpoint elsewhere must be HTTPS."""
    with pytest.raises(ConfigurationError) as caught:
        RemoteModel(url, model="m")
    assert caught.value.code == "SF101"


def test_the_key_is_not_in_the_repr(endpoint: Endpoint) -> None:
    """An API key is not printed."""
    with connected(endpoint, api_key="very-secret") as model:
        assert "very-secret" not in repr(model)
