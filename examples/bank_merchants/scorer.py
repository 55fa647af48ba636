"""A bank's model as a black box: it scores categories for a merchant, behind an OpenAI-compatible endpoint.

``python examples/bank_merchants/scorer.py --records records.jsonl --labels state/labels --port 8301`` serves it on this
machine. It is what a bank may well have: a nearest-neighbour look-up over its own payments, no weights to train. The
federation's labels, which ``semfed client learn`` leaves in the state directory, join the look-up as they arrive.

It knows the bank's records by heart, so its answers about them must stay inside the bank. What the bank releases are
its customers' own votes under noise (``record_histogram``), never answers of this model.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import log
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

MAX_REQUEST_BYTES = 1024 * 1024
_NUMBERED = re.compile(r"^(\d+)\. (.*)$", re.MULTILINE)


class MerchantScorer:
    """Scores a candidate by the most similar text that is known to carry it; `semfed_secure.llm.model.Model`.

    A candidate that no known text carries is scored by its own name, at half weight: a guess yields to evidence.
    """

    def __init__(self, known: Iterable[tuple[str, str]]) -> None:
        """Look up among ``known`` (text, label) pairs; of a text with several labels the most frequent counts."""
        labels: dict[str, Counter[str]] = {}
        for text, label in known:
            labels.setdefault(text, Counter())[label] += 1
        self._labels = [min(found, key=lambda label: (-found[label], label)) for found in labels.values()]
        bags = [_parts(text) for text in labels]
        found_in = Counter(part for bag in bags for part in bag)
        self._places = {part: place for place, part in enumerate(sorted(found_in))}
        self._weights = np.array([log((1 + len(bags)) / found_in[part]) for part in sorted(found_in)], dtype=np.float32)
        self._texts = np.stack([self._vector(bag) for bag in bags]) if bags else np.zeros((0, 0), dtype=np.float32)

    def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> NDArray[np.float32]:
        """Similarities, shape ``(prompts, candidates)``, 0 to 1."""
        similar = np.stack([self._texts @ self._vector(_parts(prompt)) for prompt in prompts]) if prompts else None
        scores = np.zeros((len(prompts), len(candidates)), dtype=np.float32)
        for column, candidate in enumerate(candidates):
            carriers = [place for place, label in enumerate(self._labels) if label == candidate]
            if carriers and similar is not None:
                scores[:, column] = similar[:, carriers].max(axis=1)
            else:
                name = _parts(candidate)
                scores[:, column] = [len(name & _parts(prompt)) / len(name) / 2 for prompt in prompts]
        return scores

    def answer(self, prompts: Sequence[str], *, max_new_tokens: int) -> list[str | None]:
        """The best known label of each prompt, at most ``max_new_tokens`` words of it; None where nothing is known."""
        choices = sorted(set(self._labels))
        if not choices:
            return [None for _ in prompts]
        best = self.score(prompts, choices).argmax(axis=1)
        return [" ".join(choices[int(place)].split()[:max_new_tokens]) for place in best]

    def _vector(self, parts: set[str]) -> NDArray[np.float32]:
        vector = np.zeros(len(self._places), dtype=np.float32)
        places = [self._places[part] for part in parts if part in self._places]
        vector[places] = np.sqrt(self._weights[places])
        length = float(np.linalg.norm(vector))
        return vector / length if length else vector


def _parts(text: str) -> set[str]:
    """Words, and groups of three to five letters."""
    padded = f" {' '.join(re.findall(r'[a-z0-9]+', text.lower()))} "
    groups = {padded[at : at + size] for size in (3, 4, 5) for at in range(len(padded) - size + 1)}
    return groups | {f"={word}" for word in padded.split()}


class Endpoint(ThreadingHTTPServer):
    """Serves one scorer over ``POST /v1/chat/completions`` on the loopback address; port 0 takes a free one."""

    daemon_threads = True

    def __init__(self, port: int, *, records: Path, labels: Path | None = None) -> None:
        """Read the bank's records; labels are read when they appear."""
        super().__init__(("127.0.0.1", port), _Handler)
        self._own = [(row["prompt"], row["completion"]) for row in _rows(records)]
        self._labels = labels
        self._seen: tuple[Path, ...] = ()
        self._scorer = MerchantScorer(self._own)

    def scorer(self) -> MerchantScorer:
        """The scorer, with every label that the site has accepted by now."""
        files = tuple(sorted(self._labels.glob("*.jsonl"))) if self._labels is not None else ()
        if files != self._seen:
            learned = [(row["prompt"], row["label"]) for file in files for row in _rows(file)]
            self._scorer, self._seen = MerchantScorer([*self._own, *learned]), files
        return self._scorer


class _Handler(BaseHTTPRequestHandler):
    """One question: the text before the numbered candidates, answered by the number of the best of them."""

    server: Endpoint

    def do_POST(self) -> None:
        """Answer a chat completion."""
        length = int(self.headers.get("content-length", 0))
        if self.path != "/v1/chat/completions" or not 0 < length <= MAX_REQUEST_BYTES:
            self.send_error(404 if length <= MAX_REQUEST_BYTES else 413)
            return
        request = json.loads(self.rfile.read(length))
        content = self._answer(str(request["messages"][-1]["content"]))
        body = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, content: str) -> str:
        question, _, rest = content.partition("\n\n")
        candidates = [text for _, text in _NUMBERED.findall(rest)]
        if not candidates:
            return self.server.scorer().answer([content], max_new_tokens=16)[0] or ""
        return str(int(self.server.scorer().score([question], candidates)[0].argmax()) + 1)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the library gives it
        """Say nothing: a question may be a payment."""


def _rows(path: Path) -> Iterable[dict[str, str]]:
    return (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--records", type=Path, required=True, help="the bank's own records, as its site file names them"
    )
    parser.add_argument("--labels", type=Path, help="the directory `labels` of the site's state")
    parser.add_argument("--port", type=int, default=8301)
    arguments = parser.parse_args()
    with Endpoint(arguments.port, records=arguments.records, labels=arguments.labels) as endpoint:
        print(f"http://127.0.0.1:{endpoint.server_port}/v1", flush=True)
        endpoint.serve_forever()
