"""The open-ended part of `learning.py`: medical questions that five institutes answer in their own words.

SmolLM2 alone writes: the other family's vocabulary makes one written token cost what ten labels do. Answers are at most
24 tokens, compared in the space of the demo's embedder. Measured are the bits per byte of reference answers, which need
no judge, and the similarity of what is written to them. Every seed draws institutes, records, prompts and test rows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from learning_analysis import lead
from learning_units import _digest, once

from semfed_secure.consensus import Outcomes, Vocabulary, text_answers
from semfed_secure.consensus.outcome import PPM
from semfed_secure.llm.adapter import LoraAdapter
from semfed_secure.llm.lessons import open_lesson
from semfed_secure.llm.loading import load_causal_model
from semfed_secure.llm.questions import Wording
from semfed_secure.llm.reading import StateReader
from semfed_secure.llm.settings import LocalSettings
from semfed_secure.llm.split import SplitModel
from semfed_secure.llm.training import train_on_labels
from semfed_secure.llm.writing import write_greedily
from semfed_secure.server.config import RoundsSection
from semfed_secure.wire.messages import ConsensusRule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Row = tuple[str, str]
Document = dict[str, Any]

CLIENTS, RECORDS, ASKED, TESTED, WRITTEN = 5, 64, 48, 12, 4
TOKENS, STEPS, BATCH, RATE = 24, 32, 8, 0.002
WAYS, SEEDS = ("little", "noise"), range(1, 4)
ARMS = ("own", "random", "medoid", "ours", "without", "fedavg")
BEFORE = ("base", "local", "local only")
TEMPLATE = "Question: {}\nAnswer:"


@dataclass(frozen=True, slots=True)
class Split:
    """What one seed draws: each institute's records and test rows, and the public questions."""

    records: tuple[tuple[Row, ...], ...]
    tests: tuple[tuple[Row, ...], ...]
    asked: tuple[str, ...]


def drawn_by(shared: Path, seed: int) -> Split:
    """Five of the eight institutes."""
    rng = np.random.default_rng([seed, 5])
    train, test, public = (
        _lines(shared / "hospital" / f"{name}.jsonl") for name in ("train", "test", "public_prompts")
    )
    institutes = rng.permutation(sorted({row["client"] for row in train}))[:CLIENTS]

    def drawn(rows: Sequence[Document], institute: str, size: int) -> tuple[Row, ...]:
        own = [row for row in rows if row["client"] == institute]
        chosen = [own[place] for place in rng.permutation(len(own))[:size]]
        return tuple((TEMPLATE.format(row["question"]), row["answer"]) for row in chosen)

    asked = [public[place]["prompt"] for place in rng.permutation(len(public))[:ASKED]]
    return Split(
        tuple(drawn(train, name, RECORDS) for name in institutes),
        tuple(drawn(test, name, TESTED) for name in institutes),
        tuple(TEMPLATE.format(text) for text in asked),
    )


def _lines(path: Path) -> list[Document]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Writer:
    """SmolLM2 under one adapter, learning and writing open answers."""

    def __init__(self, source: Path, layers: int = 4) -> None:
        torch.set_num_threads(1)
        loaded = load_causal_model(source)
        self._split = SplitModel(loaded.model, layers=layers)
        self.adapter = LoraAdapter(loaded.model, LocalSettings(layers=layers))
        self._wording = Wording(loaded.tokenizer, most=512)
        self._reader = StateReader(self._split, self.adapter, digest=loaded.digest, batch=BATCH, share=None)

    def learn(self, rows: Sequence[Row]) -> None:
        """As many whole passes as come nearest to the steps."""
        lesson = open_lesson(self._wording, [(*row, 0) for row in rows], self._reader.private)
        epochs = max(1, round(STEPS / -(-len(rows) // BATCH)))
        train_on_labels(
            self._split, self.adapter, [lesson], rate=RATE, epochs=epochs, batch=BATCH, progress=lambda *_: None
        )

    @torch.inference_mode()
    def bits_per_byte(self, rows: Sequence[Row]) -> list[float]:
        """Of the answers' first tokens and their end, so that both tokenizers could be compared."""
        found = []
        for row in rows:
            lesson = open_lesson(self._wording, [(*row, 0)], self._reader.private)
            tokens = self._wording.completion(row[1])[:TOKENS]
            nats = float(lesson.losses(self._split)[0]) * (len(tokens) + 1)
            found.append(nats / np.log(2) / len(self._wording.text(tokens).encode()))
        return found

    def write(self, prompts: Sequence[str]) -> list[str]:
        """Greedily."""
        tokens = [self._wording.prompt(prompt) for prompt in prompts]
        return write_greedily(
            self.adapter, self._split.head, tokens, wording=self._wording, max_new_tokens=TOKENS, batch=BATCH
        )

    def state(self) -> dict[str, torch.Tensor]:
        """The adapter."""
        return {name: p.detach().clone() for name, p in self.adapter.model.named_parameters() if p.requires_grad}

    def use(self, states: Sequence[dict[str, torch.Tensor]], counts: Sequence[int]) -> None:
        """The weighted mean of adapters; one is itself."""
        with torch.no_grad():
            for name, value in self.adapter.model.named_parameters():
                if value.requires_grad:
                    value.copy_(sum(n * s[name] for n, s in zip(counts, states, strict=True)) / sum(counts))


class OpenLab:
    """One seed and one way of weakness; site 0 is the weak one. Every unit is a file, as in `learning_units.Lab`."""

    def __init__(self, shared: Path, seed: int, way: str, work: Path, writer: Callable[[], Writer]) -> None:
        self.split, self.seed, self.way = drawn_by(shared, seed), seed, way
        self.work, self._writer = work / "medical" / f"seed-{seed}", writer
        self.work.mkdir(parents=True, exist_ok=True)

    def records(self, site: int) -> tuple[Row, ...]:
        """What a site holds and believes: the weak one little, or answers of other questions."""
        rows = self.split.records[site]
        if site == 0 and self.way == "little":
            return rows[: max(1, len(rows) // 10)]
        if site == 0 and self.way == "noise":
            wrong = int(0.4 * len(rows))
            answers = [answer for _, answer in rows]
            answers[:wrong] = answers[1:wrong] + answers[:1]
            return tuple((question, answer) for (question, _), answer in zip(rows, answers, strict=True))
        return rows

    def fitted(self, rows: Sequence[Row], after: str = "") -> tuple[str, Document]:
        """Learning ``rows`` from a fresh adapter, or from ``after``; its name and what it then answers."""
        name = f"fit-{_digest(after, [list(row) for row in rows])}"

        def make() -> Document:
            writer = self._start(after)
            writer.learn(rows)
            return self._measured(writer, name)

        return name, once(self.work / f"{name}.json", make)

    def mean(self, names: Sequence[str], counts: Sequence[int]) -> Document:
        """Federated averaging."""
        name = f"mean-{_digest(list(names), list(counts))}"

        def make() -> Document:
            writer = self._writer()
            writer.use([torch.load(self.work / f"{one}.pt", weights_only=True) for one in names], counts)
            return self._measured(writer, name)

        return once(self.work / f"{name}.json", make)

    def base(self) -> Document:
        """The untrained model."""
        return once(self.work / "base.json", lambda: self._measured(self._start(""), "base"))

    def _start(self, after: str) -> Writer:
        writer = self._writer()
        if after:
            writer.use([torch.load(self.work / f"{after}.pt", weights_only=True)], [1])
        else:
            torch.manual_seed(self.seed)
            writer.adapter.reset()
        return writer

    def _measured(self, writer: Writer, name: str) -> Document:
        beside = self.work / f"{name}.pt-part"
        torch.save(writer.state(), beside)
        beside.replace(self.work / f"{name}.pt")
        return {
            "answers": writer.write(self.split.asked),
            "bits": [writer.bits_per_byte(rows) for rows in self.split.tests],
            "written": [writer.write([prompt for prompt, _ in rows[:WRITTEN]]) for rows in self.split.tests],
        }


def agreed(texts: Sequence[Sequence[str]], embedder: Any) -> tuple[list[str | None], list[str]]:
    """What the product's rule releases of these texts, or None; and the medoid, nearest to the mean."""
    rows = [[text or None for text in row] for row in texts]
    known = tuple(sorted({text for row in rows for text in row if text}))
    vectors = embedder.embed(known)
    terms = RoundsSection()
    rule = ConsensusRule(
        name="semantic_group",
        min_clients=min(3, len(rows)),
        min_support_ppm=340_000,
        min_margin_ppm=terms.min_margin_ppm,
        similarity_ppm=terms.similarity_ppm,
        trim_ppm=terms.trim_ppm,
        weights="equal",
    )
    ids = tuple(map(str, range(len(rows[0]))))
    evidence = text_answers(rows, Vocabulary(known, vectors, rule.similarity_ppm), prompt_ids=ids, nonce=bytes(32))
    outcomes: Outcomes = evidence.consensus(np.full(len(rows), PPM, np.int64), rule=rule)
    place = dict(zip(known, vectors, strict=True))
    medoids = []
    for column in zip(*rows, strict=True):
        given = [text for text in column if text]
        middle = np.sum([place[text] for text in given], axis=0) if given else 0
        medoids.append(max(given, key=lambda text: float(place[text] @ middle)) if given else "")
    return [known[label] if label >= 0 else None for label in outcomes.label.tolist()], medoids


def conduct_open(lab: OpenLab, embedder: Any) -> dict[str, list[Document]]:
    """Every arm's answers, site by site."""
    sites = range(CLIENTS)
    records = [lab.records(site) for site in sites]
    trained = [lab.fitted(rows) for rows in records]
    texts = [document["answers"] for _, document in trained]
    released, medoid = agreed(texts, embedder)
    rng = np.random.default_rng([lab.seed, 6])
    labels: dict[str, list[str | None]] = {
        "random": [texts[rng.integers(CLIENTS)][place] for place in range(ASKED)],
        "medoid": list(medoid),
        "ours": released,
        "without": agreed(texts[1:], embedder)[0],
    }
    found = {
        "base": [lab.base()] * CLIENTS,
        "local": [document for _, document in trained],
        "local only": [lab.fitted(rows, name)[1] for rows, (name, _) in zip(records, trained, strict=True)],
        "fedavg": [lab.mean([name for name, _ in trained], [len(rows) for rows in records])] * CLIENTS,
    }
    for arm in ("own", *labels):
        found[arm] = []
        for site in sites:
            taught = zip(lab.split.asked, texts[site] if arm == "own" else labels[arm], strict=True)
            rows = [(prompt, answer) for prompt, answer in taught if answer]
            found[arm].append(lab.fitted([*rows, *records[site]], trained[site][0])[1])
    return found


def summary(
    found: dict[tuple[str, int], dict[str, list[Document]]], splits: dict[int, Split], embedder: Any
) -> list[Document]:
    """Per way and arm: bits per byte on own and on others' questions, similarity, and the lead over training alone."""
    rows = []
    for way in dict.fromkeys(way for way, _ in found):
        seeds = {seed: one for (other, seed), one in found.items() if other == way}
        for arm in (*BEFORE, *ARMS):
            row: Document = {"way": way, "arm": arm, "seeds": sorted(seeds)}
            for who, sites in (("weak", [0]), ("strong", list(range(1, CLIENTS)))):
                own, others, near = [], [], []
                for seed, one in seeds.items():
                    for site in sites:
                        bits = one[arm][site]["bits"]
                        own.append(np.mean(bits[site]))
                        others.append(np.mean([b for place, b in enumerate(bits) if place != site]))
                        near.append(_similarity(one[arm][site]["written"], splits[seed], embedder))
                row[who] = {
                    "own_bits": round(float(np.mean(own)), 4),
                    "other_bits": round(float(np.mean(others)), 4),
                    "similarity": round(float(np.mean(near)), 4),
                }
                stages = [
                    np.stack([_bits(one[stage], sites) for stage in (arm, "local only")]) for one in seeds.values()
                ]
                # Bits per byte times 100, so that a lead of one is a hundredth of a bit; fewer bits are better.
                row[who]["fewer_bits_than_alone"] = lead([-stage for stage in stages])
            rows.append(row)
    return rows


def _bits(documents: Sequence[Document], sites: Sequence[int]) -> np.ndarray:
    """Bits per byte of every test row, the mean over sites."""
    return np.mean([np.concatenate(documents[site]["bits"]) for site in sites], axis=0)


def _similarity(written: Sequence[Sequence[str]], split: Split, embedder: Any) -> float:
    pairs = [
        (text, answer)
        for texts, rows in zip(written, split.tests, strict=True)
        for text, (_, answer) in zip(texts, rows, strict=False)
    ]
    one, other = (embedder.embed([pair[side] or " " for pair in pairs]) for side in (0, 1))
    return float((one * other).sum(axis=1).mean())
