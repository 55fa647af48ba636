"""A model behind an OpenAI-compatible HTTP endpoint: answered and scored as a black box, no weights, no torch."""

from __future__ import annotations

import json
import math
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

import httpx

from semfed_secure.errors import ConfigurationError, PeerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

Scoring: TypeAlias = Literal["likelihood", "choice"]
"""``likelihood``: sum the candidate's token log-probabilities (``/completions`` with ``echo``: vLLM, llama.cpp).
``choice``: show the numbered candidates and read the number that the model answers (any chat endpoint)."""

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.5
MAX_ANSWER_BYTES = 8 * 1024 * 1024
_TRY_AGAIN = frozenset({408, 409, 429, 500, 502, 503, 504})
_NUMBER = re.compile(r"\d+")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class RemoteModel:
    """`semfed_secure.llm.model.Model` over HTTP; deterministic decoding (temperature 0).

    Nothing is sent to any other address than ``url``, and plain HTTP only to this machine: an endpoint elsewhere
    must speak HTTPS. Under ``record_histogram`` the endpoint sees the site's own records, so it must belong to the
    site. A failed answer raises; it never becomes an abstention, which is a value that others count.

    Args:
        url: Base of the API, for example ``http://127.0.0.1:8000/v1``.
        model: Name of the model as the endpoint knows it.
        scoring: How `score` asks; see `Scoring`.
        api_key: Sent as a bearer token; never logged.
        parallel_requests: How many requests are under way at once.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str,
        scoring: Scoring = "choice",
        api_key: str | None = None,
        timeout_seconds: float = 120.0,
        parallel_requests: int = 4,
        client: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Check the address; nothing is sent before the first question.

        Raises:
            ConfigurationError: SF101 if ``url`` is not HTTPS or plain HTTP to this machine.
        """
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ConfigurationError("SF101", "a model endpoint must be https://…, or http://… on this machine")
        self._url = url.rstrip("/")
        self._model = model
        self._scoring = scoring
        self._parallel = parallel_requests
        self._client = client if client is not None else httpx.Client(timeout=timeout_seconds)
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._sleep = sleep

    def __repr__(self) -> str:
        """Address and model, no key."""
        return f"RemoteModel({self._url!r}, model={self._model!r})"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def answer(self, prompts: Sequence[str], *, max_new_tokens: int) -> list[str | None]:
        """One chat completion per prompt; an empty answer abstains."""
        return self._map(lambda prompt: self._chat(prompt, max_tokens=max_new_tokens) or None, prompts)

    def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> NDArray[np.float32]:
        """Scores of shape ``(prompts, candidates)``, float32; ``-inf`` where `choice` did not choose.

        Raises:
            PeerError: SF343 if the endpoint fails or does not give what `Scoring` needs.
        """
        import numpy as np

        row = self._likelihoods if self._scoring == "likelihood" else self._choice
        rows = self._map(lambda prompt: row(prompt, candidates), prompts)
        return np.asarray(rows, dtype=np.float32).reshape(len(prompts), len(candidates))

    def _choice(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        """0 for the chosen candidate, ``-inf`` for the others; an answer that names none chooses none."""
        numbered = "\n".join(f"{number}. {candidate}" for number, candidate in enumerate(candidates, start=1))
        question = f"{prompt}\n\nAnswer with the number of the one best choice, and nothing else.\n{numbered}"
        chosen = _chosen(self._chat(question, max_tokens=16), candidates)
        return [0.0 if index == chosen else -math.inf for index in range(len(candidates))]

    def _likelihoods(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        """Log-likelihood of each candidate after the prompt, from one request for all candidates."""
        texts = [f"{prompt} {candidate}" for candidate in candidates]
        request = {"prompt": texts, "max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0}
        answer = self._post("/completions", request)
        try:
            choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
            if len(choices) != len(texts):
                raise PeerError("SF343", "the model endpoint scored another number of candidates than asked")
            return [
                _likelihood(choice["logprobs"], start=len(prompt), stop=len(text))
                for choice, text in zip(choices, texts, strict=True)
            ]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise PeerError(
                "SF343", "the model endpoint gives no log-probabilities of its input: set scoring to `choice`"
            ) from error

    def _chat(self, prompt: str, *, max_tokens: int) -> str:
        request = {"messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens, "temperature": 0}
        answer = self._post("/chat/completions", request)
        try:
            content = answer["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError) as error:
            raise PeerError("SF343", "the model endpoint's answer is not a chat completion") from error
        return content.strip() if isinstance(content, str) else ""

    def _map(self, ask: Callable[[str], Any], prompts: Sequence[str]) -> list[Any]:
        """``ask`` of every prompt, in order, a few at a time; the first failure ends it."""
        with ThreadPoolExecutor(max_workers=self._parallel) as pool:
            return list(pool.map(ask, prompts))

    def _post(self, path: str, request: dict[str, object]) -> dict[str, Any]:
        """One request, repeated while the endpoint is overloaded or away."""
        pause, reason = FIRST_PAUSE_SECONDS, ""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = self._client.post(
                    self._url + path, json={"model": self._model, **request}, headers=self._headers
                )
            except httpx.TransportError as error:
                reason = type(error).__name__
            else:
                if response.status_code not in _TRY_AGAIN:
                    return _document(response)
                reason = f"status {response.status_code}"
            if attempt < ATTEMPTS:
                self._sleep(pause)
                pause *= 2
        raise PeerError("SF343", f"the model endpoint failed {ATTEMPTS} times: {reason}", reason=reason)


def _document(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a good answer; the text of a bad one is not repeated, it may quote the question."""
    if response.status_code != 200:
        status = response.status_code
        raise PeerError("SF343", f"the model endpoint refused: status {status}", status=status)
    if len(response.content) > MAX_ANSWER_BYTES:
        raise PeerError("SF343", f"the model endpoint's answer is larger than {MAX_ANSWER_BYTES} bytes")
    try:
        document = json.loads(response.content)
    except (ValueError, RecursionError) as error:  # a number of too many digits is no JSONDecodeError
        raise PeerError("SF343", "the model endpoint's answer is not JSON") from error
    if not isinstance(document, dict):
        raise PeerError("SF343", "the model endpoint's answer is not a JSON object")
    return document


def _likelihood(logprobs: dict[str, Any], *, start: int, stop: int) -> float:
    """Sum over the tokens that lie in ``[start, stop)``: the candidate, neither the prompt nor what came after."""
    pairs = zip(logprobs["text_offset"], logprobs["token_logprobs"], strict=True)
    inside = [float(value) for offset, value in pairs if start <= int(offset) < stop]
    return sum(inside) if inside else -math.inf


def _chosen(answer: str, candidates: Sequence[str]) -> int | None:
    """The index that an answer names: a candidate word for word, or the first number if it is one of the list.

    A bare number is a place of the list, as was asked, though a candidate may be called so to catch votes for others.
    """
    folded = answer.strip().strip(".").casefold()
    exact = [index for index, candidate in enumerate(candidates) if candidate.casefold() == folded]
    if folded.isdecimal() and len(folded) <= 6 and 1 <= int(folded) <= len(candidates):
        exact = [int(folded) - 1]
    if exact:
        return exact[0]
    found = _NUMBER.search(answer)
    number = int(found.group()) if found and len(found.group()) <= 6 else 0
    return number - 1 if 1 <= number <= len(candidates) else None
