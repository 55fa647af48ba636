"""What each liar of the attack grid answers and sends, one class each.

A liar is a member with valid keys. It knows the right answers, what every honest site will say, and its fellows: more
than any real one. What it sends goes through the real admission; ``codes`` is how that must refuse it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from attacks_seats import Seat
    from numpy.typing import NDArray

    Answers = NDArray[np.int64]
    Vectors = NDArray[np.floating[Any]]

WORDINGS = 16
"""An answer is its meaning times this, plus the number of its wording; a vote has one wording."""
EMBEDDED = 384
"""Numbers of a real embedder's vector."""


@dataclass(frozen=True, slots=True)
class Scene:
    """All that can be known of one round.

    Attributes:
        truth: The right meaning of each prompt.
        target: One wrong meaning of each prompt, on which liars may have agreed.
        honest: What each honest site answers, ``(sites, prompts)``.
        own: What each liar's own model would answer.
        wordings: How many wordings each meaning has, ``(prompts, meanings)``.
        vectors: Where each meaning lies, ``(prompts, meanings, dimensions)``, of length one.
        gold: The prompts whose answers the server knows already.
        constant: The one answer that a site without a model gives to every prompt.
        turn: How many rounds went before.
        chance: The liars' dice.
    """

    truth: Answers
    target: Answers
    honest: Answers
    own: Answers
    wordings: Answers
    vectors: Vectors
    gold: Answers
    constant: int
    turn: int
    chance: np.random.Generator

    @property
    def tally(self) -> Answers:
        """How many honest sites mean what, ``(prompts, meanings)``."""
        meanings = np.arange(self.wordings.shape[1])
        return (self.honest[:, :, None] // WORDINGS == meanings).sum(axis=0)

    @property
    def middle(self) -> Vectors:
        """The mean of the honest answers' vectors."""
        return np.einsum("pm,pmd->pd", self.tally / len(self.honest), self.vectors)

    def worded(self, meanings: Answers) -> Answers:
        """Each liar puts the meanings into words of its own choice, ``(liars, prompts)``."""
        shape = self.own.shape
        many = self.wordings[np.arange(shape[1]), meanings]
        return np.broadcast_to(meanings, shape) * WORDINGS + self.chance.integers(0, np.broadcast_to(many, shape))


class Strategy:
    """Sends well-formed contributions; sub-classes say what they answer, and what else they send."""

    name: ClassVar[str]
    about: ClassVar[str]
    codes: ClassVar[dict[str, frozenset[str]]] = {"votes": frozenset(), "text": frozenset()}
    """How admission must refuse what is sent, by the round's kind."""
    rounds: ClassVar[int] = 1
    """How many rounds are held with the same members; the last one is measured."""
    counted: ClassVar[bool] = True
    """Whether its answers are admitted."""

    def answers(self, scene: Scene) -> Answers:
        """What each liar answers, ``(liars, prompts)``."""
        return scene.worded(scene.target)

    def collect(self, seat: Seat) -> None:
        """While contributions, or commitments to texts, are taken."""
        seat.post(seat.first)

    def opening(self, seat: Seat) -> None:
        """While commitments are opened."""
        seat.post(seat.whole)

    def closed(self, seat: Seat) -> None:
        """When nothing is taken any more."""


def _refused(votes: str, text: str | None = None) -> dict[str, frozenset[str]]:
    return {"votes": frozenset(votes.split()), "text": frozenset((text or votes).split())}


# -- liars that answer --------------------------------------------------------------------------------------


class Honest(Strategy):
    name, about = "none", "nobody lies: the same sites, honest"

    def answers(self, scene: Scene) -> Answers:
        return scene.own


class RandomAnswers(Strategy):
    name, about = "random", "any answer, each time another"

    def answers(self, scene: Scene) -> Answers:
        return scene.worded(scene.chance.integers(0, scene.wordings.shape[1], scene.own.shape))


class LabelFlip(Strategy):
    name, about = "label flip", "what its own model says, shifted to the next answer"

    def answers(self, scene: Scene) -> Answers:
        return scene.worded((scene.own // WORDINGS + 1) % scene.wordings.shape[1])


class Targeted(Strategy):
    name, about = "targeted", "all agree on one wrong answer to each prompt, each in its own words"


class Duplicated(Strategy):
    name, about = "duplicated", "the same wrong answer in the same words"

    def answers(self, scene: Scene) -> Answers:
        return np.broadcast_to(scene.target * WORDINGS, scene.own.shape)


class AlittleIsEnough(Strategy):
    name = "ALIE"
    about = "the honest runner-up where the liars can tip it, the honest majority's answer elsewhere"

    def answers(self, scene: Scene) -> Answers:
        order = np.argsort(-scene.tally, axis=1, kind="stable")
        counts = np.take_along_axis(scene.tally, order, axis=1)
        tipped = (counts[:, 1] > 0) & (counts[:, 0] - counts[:, 1] <= len(scene.own))
        return scene.worded(np.where(tipped, order[:, 1], order[:, 0]))


class InnerProduct(Strategy):
    name, about = "inner product", "the answer that points away most from the mean of the honest ones"

    def answers(self, scene: Scene) -> Answers:
        return scene.worded(np.einsum("pmd,pd->pm", scene.vectors, scene.middle).argmin(axis=1))


class Mimic(Strategy):
    name, about = "mimic", "all repeat the weakest honest site, word for word"

    def answers(self, scene: Scene) -> Answers:
        weakest = (scene.honest // WORDINGS == scene.truth).sum(axis=1).argmin()
        return np.broadcast_to(scene.honest[weakest], scene.own.shape)


class HullHiding(Strategy):
    name, about = "hull hiding", "the wrong answer that most honest sites gave (HIPS)"

    def answers(self, scene: Scene) -> Answers:
        wrong = scene.tally * 2 + (np.arange(scene.wordings.shape[1]) == scene.target[:, None])
        wrong[np.arange(len(wrong)), scene.truth] = -1
        return scene.worded(wrong.argmax(axis=1))


class LeastLikely(Strategy):
    name, about = "LMA", "the answer that fewest honest sites gave, the same for all liars"

    def answers(self, scene: Scene) -> Answers:
        draw = scene.chance.random(scene.tally.shape)
        return scene.worded((scene.tally + draw).argmin(axis=1))


class LeastAlike(Strategy):
    name, about = "CPA", "the answer least like the one that most honest sites gave"

    def answers(self, scene: Scene) -> Answers:
        likely = scene.vectors[np.arange(len(scene.truth)), scene.tally.argmax(axis=1)]
        return scene.worded(np.einsum("pmd,pd->pm", scene.vectors, likely).argmin(axis=1))


class ColludeOnFifth(Strategy):
    name, about, share = "collude 20 %", "honest, and on one prompt of five the agreed wrong answer", 0.2

    def answers(self, scene: Scene) -> Answers:
        here = scene.chance.random(len(scene.truth)) < self.share
        return np.where(here, scene.worded(scene.target), scene.own)


class ColludeOnTwentieth(ColludeOnFifth):
    name, about, share = "collude 5 %", "the same on one prompt of twenty", 0.05


class Sleeper(Strategy):
    name, about, rounds = "sleeper", "honest for two rounds, then targeted", 3

    def answers(self, scene: Scene) -> Answers:
        return scene.worded(scene.target) if scene.turn == self.rounds - 1 else scene.own


class GoldKnown(Strategy):
    name, about = "gold known", "right on the gold prompts, which somebody told it, and targeted elsewhere"

    def answers(self, scene: Scene) -> Answers:
        known = np.isin(np.arange(len(scene.truth)), scene.gold)
        return scene.worded(np.where(known, scene.truth, scene.target))


class FreeRider(Strategy):
    name, about = "free rider", "has no model: the same answer to every prompt"

    def answers(self, scene: Scene) -> Answers:
        return np.full(scene.own.shape, scene.constant * WORDINGS)


# -- liars that send something else -------------------------------------------------------------------------


class Silent(Strategy):
    name, about, counted = "silent", "never sends", False

    def collect(self, seat: Seat) -> None:
        pass

    opening = collect


class Replaying(Strategy):
    name, about = "replaying", "targeted, sent three times, and everybody else's bytes again"

    def collect(self, seat: Seat) -> None:
        for body in (seat.first, seat.first, *seat.heard, seat.first):
            seat.post(body)

    def closed(self, seat: Seat) -> None:
        seat.post(seat.whole)


class Equivocating(Strategy):
    name, about, codes = "equivocating", "targeted, and then another contribution", _refused("SF309")

    def collect(self, seat: Seat) -> None:
        seat.post(seat.first)
        seat.post(seat.another().first)


class Late(Strategy):
    name, about, codes, counted = "late", "sends when the round takes nothing any more", _refused("SF304"), False

    def collect(self, seat: Seat) -> None:
        pass

    def opening(self, seat: Seat) -> None:
        seat.post(seat.first)

    def closed(self, seat: Seat) -> None:
        seat.post(seat.whole)


class Oversize(Strategy):
    name, about, counted = "oversize", "a body, or an answer, longer than the round allows", False
    codes = _refused("SF301", "SF301 SF315")

    def collect(self, seat: Seat) -> None:
        seat.post(seat.whole + bytes(seat.largest))
        if seat.text:
            seat.post(seat.endless().first)

    def opening(self, seat: Seat) -> None:
        seat.post(seat.endless().whole)


# -- liars that send vectors, which no round takes ----------------------------------------------------------


class VectorStrategy(Strategy, ABC):
    """Seals an array where votes or texts belong: of 4-byte numbers, and of 2-byte ones that fit where votes stand."""

    counted = False
    codes = _refused("SF301 SF314", "SF314")

    @abstractmethod
    def vectors(self, honest: Vectors, target: Vectors) -> Vectors:
        """What every liar sends, from ``(prompts, sites, dimensions)`` and ``(prompts, dimensions)``."""

    def collect(self, seat: Seat) -> None:
        for each in self._sealed(seat):
            seat.post(each.first if seat.text else each.whole)

    def opening(self, seat: Seat) -> None:
        seat.post(self._sealed(seat)[0].whole)

    def _sealed(self, seat: Seat) -> list[Seat]:
        scene = seat.scene
        prompts = np.arange(len(scene.truth))
        honest = scene.vectors[prompts[:, None], scene.honest.T // WORDINGS]
        sent = self.vectors(honest, scene.vectors[prompts, scene.target])
        if seat.text:
            return [seat.holding({5: sent[:, 0].astype(np.float32).tolist()})]
        long = np.resize(sent, (len(sent), EMBEDDED)).astype("<f4")
        return [seat.holding({4: long.tobytes()}), seat.holding({4: sent[:, 0].astype("<f2").tobytes()})]


class Scaled(VectorStrategy):
    name, about = "scaled norm", "the agreed wrong answer's vector, a hundred times as long"

    def vectors(self, _: Vectors, target: Vectors) -> Vectors:
        return 100.0 * target


class NotANumber(VectorStrategy):
    name, about = "NaN", "no numbers at all"

    def vectors(self, _: Vectors, target: Vectors) -> Vectors:
        return np.full(target.shape, np.nan)


class AlittleIsEnoughVectors(VectorStrategy):
    name, about = "ALIE vectors", "1.5 standard deviations from the honest mean, towards the agreed wrong answer"

    def vectors(self, honest: Vectors, target: Vectors) -> Vectors:
        middle = honest.mean(axis=1)
        return middle + 1.5 * honest.std(axis=1) * np.sign(target - middle)


class InnerProductVectors(VectorStrategy):
    name, about = "inner-product vectors", "the honest mean, negated"

    def vectors(self, honest: Vectors, _: Vectors) -> Vectors:
        return -honest.mean(axis=1)


ANSWERING: tuple[type[Strategy], ...] = (
    RandomAnswers,
    LabelFlip,
    Targeted,
    Duplicated,
    AlittleIsEnough,
    InnerProduct,
    Mimic,
    HullHiding,
    LeastLikely,
    LeastAlike,
    ColludeOnFifth,
    ColludeOnTwentieth,
    Sleeper,
    GoldKnown,
    FreeRider,
)
SENDING: tuple[type[Strategy], ...] = (Silent, Replaying, Equivocating, Late, Oversize)
VECTORS: tuple[type[VectorStrategy], ...] = (Scaled, NotANumber, AlittleIsEnoughVectors, InnerProductVectors)
STRATEGIES: tuple[type[Strategy], ...] = (Honest, *ANSWERING, *SENDING, *VECTORS)
