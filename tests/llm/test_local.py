"""A local model as the client uses it: scores, answers, learns, saves and loads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tokenizers import normalizers

from semfed_secure.client.answers import best_candidates, prompts_with_alike
from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.ids import PromptId
from semfed_secure.llm import local, writing
from semfed_secure.llm.adapter import DESCRIPTION, USE, WEIGHTS
from semfed_secure.llm.model import Record, TrainableModel, TrainingPlan
from semfed_secure.units import Mechanism
from semfed_secure.wire.messages import ABSTAIN
from semfed_secure.wire.prompts import Prompt, PromptSet
from tests.llm import tiny

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.llm.local import LocalModel

PROMPTS = ("his arm hurts\nDepartment:", "x", "a longer story of the chest and the heart\nDepartment:", "")
CANDIDATES = ("card", "cardiac", "car", "heart", "cardiac arrest", "lung")
PLAN = TrainingPlan(Mechanism.DP_SGD, 0.5, 0.5, 6, 0.5, 3.0)
RECORDS = tuple(
    Record(f"patient {number % 4}", f"{'very ' * number}ill\nDepartment:", answer)
    for number, answer in enumerate(["heart", "lung", "rest at home", "card", "lung", "heart", "walk"])
)


def silent(done: int, total: int) -> None:
    """Show no progress."""


@pytest.fixture
def model(llama: Path) -> LocalModel:
    """A model whose adapter changes something."""
    own = tiny.local(llama)
    tiny.stir(own._adapter)
    return own


def test_a_local_model_is_trainable(model: LocalModel) -> None:
    """It is what the client asks for."""
    assert isinstance(model, TrainableModel)


def test_scores_are_probabilities_over_the_candidates(model: LocalModel) -> None:
    """Rows sum to one, also where candidates share first tokens and where one is the beginning of another."""
    scores = model.score(PROMPTS, CANDIDATES)
    assert scores.shape == (4, 6)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(np.exp(scores).sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(model.score(PROMPTS, CANDIDATES[:1]), 0)


@torch.no_grad()
def test_scores_follow_the_forks(model: LocalModel) -> None:
    """The naive way gives the same: one text at a time, choosing among the open ways at each token."""
    scores = model.score(PROMPTS, CANDIDATES)
    wording = model._wording
    ways = [(*wording.completion(candidate), wording.end) for candidate in CANDIDATES]
    for place, prompt in enumerate(PROMPTS):
        for column, way in enumerate(ways):
            right = 0.0
            for depth, token in enumerate(way):
                open_ways = sorted({row[depth] for row in ways if row[:depth] == way[:depth]})
                tokens = [*wording.prompt(prompt), *way[:depth]]
                logits = _naive(model, tokens, 1 + depth)[open_ways]
                right += float(logits.log_softmax(0)[open_ways.index(token)])
            assert scores[place, column] == pytest.approx(right, abs=1e-3)


def _naive(model: LocalModel, tokens: list[int], active: int) -> torch.Tensor:
    from tests.llm.test_split import naive

    return naive(model._adapter, tokens, active)[-1]


def test_scores_do_not_depend_on_the_company(model: LocalModel) -> None:
    """A prompt scored alone gets the scores that it gets among others."""
    together = model.score(PROMPTS, CANDIDATES)
    for place, prompt in enumerate(PROMPTS):
        np.testing.assert_allclose(model.score([prompt], CANDIDATES)[0], together[place], atol=1e-4)


def test_two_candidates_that_the_tokenizer_makes_one_cost_the_votes_for_them_and_no_others(model: LocalModel) -> None:
    """Two members can propose such texts; the site still votes wherever it likes another candidate better."""
    wording: Any = model._wording
    stripped = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    wording._tokenizer.backend_tokenizer.normalizer = stripped
    prompts = [f"patient {number}" for number in range(20)]
    own, proposed = ("resume", "heart", "lung"), ("resume", "heart", "lung", "résumé")
    alone = best_candidates(model, prompts, [own] * len(prompts))
    assert {0} < set(alone)
    assert best_candidates(model, prompts, [proposed] * len(prompts)) == tuple(vote or ABSTAIN for vote in alone)
    np.testing.assert_allclose(np.exp(model.score(prompts, proposed)[:, :3]).sum(1), 1, rtol=1e-5)
    asked = [Prompt(PromptId(f"p{place}"), text, (own, proposed)[place % 2]) for place, text in enumerate(prompts)]
    assert prompts_with_alike(model, PromptSet("p", tuple(asked))) == len(prompts) // 2


def test_nothing_asked_is_nothing_answered(model: LocalModel) -> None:
    """No prompts: no scores, no answers."""
    assert model.score([], CANDIDATES).shape == (0, 6)
    assert model.answer([], max_new_tokens=3) == []


@torch.no_grad()
def greedy(model: LocalModel, prompt: str, limit: int) -> str | None:
    """The definition: recompute everything for each token, stop at the end and at the first line's end."""
    wording, written = model._wording, []
    start = wording.prompt(prompt)
    for _ in range(limit):
        token = int(_naive(model, [*start, *written], 1 + len(written)).argmax())
        if token == wording.end:
            break
        written.append(token)
    return wording.text(written).lstrip().partition("\n")[0].strip() or None


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_writing_equals_recomputing_everything_for_each_token(family: str, tmp_path: Path) -> None:
    """Every family, prompts of all lengths in one batch, the adapter from the last prompt token on."""
    own = tiny.local(tiny.write_model(tmp_path, family), batch=4)
    tiny.stir(own._adapter)
    prompts = [*PROMPTS, "he", "take this", "card"]
    assert own.answer(prompts, max_new_tokens=6) == [greedy(own, prompt, 6) for prompt in prompts]


def forced(model: LocalModel, monkeypatch: pytest.MonkeyPatch, text: str) -> list[int]:
    """Let the head write ``text`` and then its end, whatever it is asked; return what counts the passes."""
    tokens = [*model._wording._tokenizer(text, add_special_tokens=False).input_ids, model._wording.end]
    passes: list[int] = []
    inner = writing._forward

    def counted(*given):
        passes.append(given[1].shape[1])
        return inner(*given)

    class Head(torch.nn.Module):
        def forward(self, hidden):
            return torch.nn.functional.one_hot(
                torch.full((len(hidden),), tokens[passes.count(1) - 1]), tiny.VOCABULARY
            ).float()

    monkeypatch.setattr(writing, "_forward", counted)
    model._split.head = Head()
    return passes


@pytest.mark.parametrize(
    ("text", "limit", "answer", "steps"),
    [
        ("lung", 9, "lung", 5),  # four letters and the end
        ("lung\nand more", 30, "lung", 5),  # the end of the line ends it at once
        ("\n\n lung\nx", 30, "lung", 8),  # empty lines before are passed over
        ("lung and heart", 3, "lun", 3),
        ("", 9, None, 1),
    ],
)
def test_writing_stops(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch, text: str, limit: int, answer: str | None, steps: int
) -> None:
    """At the end of the text, of the first line, or after as many tokens as asked for, and not a pass later."""
    passes = forced(model, monkeypatch, text)
    assert model.answer(["one two"], max_new_tokens=limit) == [answer]
    assert passes.count(1) == steps


def test_an_adapter_survives_saving_and_loading_exactly(model: LocalModel, llama: Path, tmp_path: Path) -> None:
    """Another process that loads what was written gives the same scores, bit for bit."""
    model._adapter.save(tmp_path / "adapter")
    other = tiny.local(llama)
    assert not np.allclose(other.score(PROMPTS, CANDIDATES), model.score(PROMPTS, CANDIDATES), atol=1e-3)
    other.use_adapter(tmp_path / "adapter")
    assert torch.equal(tiny.flat(other._adapter), tiny.flat(model._adapter))
    assert np.array_equal(other.score(PROMPTS, CANDIDATES), model.score(PROMPTS, CANDIDATES))
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == sorted([DESCRIPTION, WEIGHTS, USE])


@pytest.mark.parametrize("change", [{"layers": 1}, {"layers": 3}, {"rank": 3}, {"targets": ("q_proj",)}])
def test_an_adapter_of_other_settings_is_refused(
    model: LocalModel, llama: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    """SF531, and the adapter in use stays as it was."""
    tiny.local(llama, **change)._adapter.save(tmp_path / "adapter")
    before = tiny.flat(model._adapter)
    with pytest.raises(IntegrityError) as caught:
        model.use_adapter(tmp_path / "adapter")
    assert caught.value.code == "SF531"
    assert torch.equal(tiny.flat(model._adapter), before)


@pytest.mark.parametrize("name", [WEIGHTS, USE])
@pytest.mark.parametrize("damage", ["gone", "half", "other"])
def test_a_damaged_adapter_is_refused(model: LocalModel, tmp_path: Path, name: str, damage: str) -> None:
    """A file that is missing, cut or something else: SF531."""
    model._adapter.save(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    if damage != "gone":
        (tmp_path / name).write_bytes(content[: len(content) // 2] if damage == "half" else json.dumps([1]).encode())
    with pytest.raises(IntegrityError) as caught:
        model.use_adapter(tmp_path)
    assert caught.value.code == "SF531"


def test_without_an_adapter_the_model_is_exactly_the_base(model: LocalModel, llama: Path) -> None:
    """A reset adapter changes no bit of what the untrained model gives."""
    model.use_adapter(None)
    assert np.array_equal(model.score(PROMPTS, CANDIDATES), tiny.local(llama).score(PROMPTS, CANDIDATES))
    ids = torch.tensor([[3, 4, 5]])
    whole = model._adapter.model.get_base_model()
    with torch.no_grad():
        on = whole(input_ids=ids).logits
        with model._adapter.off():
            off = whole(input_ids=ids).logits
    assert torch.equal(on, off)


def test_private_training_writes_an_adapter_and_leaves_no_state(llama: Path, tmp_path: Path) -> None:
    """Closed and open records by the candidates; nothing of them reaches the shared directory or the memory."""
    share = tmp_path / "shared"
    own = tiny.local(llama, state_cache=share)
    before = own.score(PROMPTS, CANDIDATES)
    kept, files = list(own._reader._remembered), sorted(share.iterdir())
    own.fit_private(RECORDS, candidates=CANDIDATES, plan=PLAN, directory=tmp_path / "adapter", progress=silent)
    assert sorted(share.iterdir()) == files
    assert list(own._reader._remembered) == kept
    trained = own.score(PROMPTS, CANDIDATES)
    assert not np.allclose(trained, before, atol=1e-4)
    other = tiny.local(llama)
    other.use_adapter(tmp_path / "adapter")
    np.testing.assert_allclose(other.score(PROMPTS, CANDIDATES), trained, atol=1e-5)


def test_private_training_is_told_each_entity_once(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit is the entity: all questions of one, of either kind, carry one number."""
    seen: dict[str, object] = {}
    monkeypatch.setattr(local, "train_privately", lambda *given, **named: seen.update(named, lessons=given[2]))
    tiny.local(llama).fit_private(RECORDS, candidates=CANDIDATES, plan=PLAN, directory=tmp_path, progress=silent)
    lessons = seen["lessons"]
    assert seen["entities"] == 4
    assert seen["plan"] is PLAN
    assert {int(owner) for lesson in lessons for owner in lesson.owners} == {0, 1, 2, 3}
    (unsettled,) = (lesson for lesson in lessons if lesson.among is None)
    assert unsettled.owners.tolist() == [2, 2]  # both by patient 2


def test_labels_are_learnt(llama: Path, tmp_path: Path) -> None:
    """After learning, agreed labels are the best-scored candidates and open ones are what is written."""
    torch.manual_seed(3)  # a fresh adapter is random
    own = tiny.local(llama, label_epochs=80)
    labels = ["lung", "heart", "cardiac"]
    own.fit_labels(PROMPTS[:3], labels, candidates=CANDIDATES, directory=tmp_path / "closed", progress=silent)
    best = own.score(PROMPTS[:3], CANDIDATES).argmax(1)
    assert [CANDIDATES[place] for place in best] == labels
    own.use_adapter(None)
    own.fit_labels(PROMPTS[:2], ["rest", "walk"], candidates=(), directory=tmp_path / "open", progress=silent)
    assert own.answer(PROMPTS[:2], max_new_tokens=12) == ["rest", "walk"]


def test_answers_of_any_length_in_one_batch_are_written_alone(llama: Path, tmp_path: Path) -> None:
    """Who has ended leaves the batch; the others go on as if they had been alone from the start."""
    torch.manual_seed(3)
    own = tiny.local(llama, label_epochs=80, batch=8)
    labels = ["rest", "take the other one now", "walk a bit"]
    own.fit_labels(PROMPTS[:3], labels, candidates=(), directory=tmp_path, progress=silent)
    asked = [*PROMPTS[:3], "he", PROMPTS[0] + PROMPTS[1]]
    together = own.answer(asked, max_new_tokens=30)
    assert len({len(text or "") for text in together}) > 1
    assert together == [greedy(own, prompt, 30) for prompt in asked]


def test_no_labels_leave_the_adapter_as_it_is(model: LocalModel, tmp_path: Path) -> None:
    """A round without agreement teaches nothing."""
    before = tiny.flat(model._adapter)
    model.fit_labels([], [], candidates=CANDIDATES, directory=tmp_path, progress=silent)
    assert torch.equal(tiny.flat(model._adapter), before)


def test_training_without_records_is_refused(model: LocalModel, tmp_path: Path) -> None:
    """SF104."""
    with pytest.raises(ConfigurationError) as caught:
        model.fit_private([], candidates=CANDIDATES, plan=PLAN, directory=tmp_path, progress=silent)
    assert caught.value.code == "SF104"


def test_a_target_that_no_layer_has_is_named(llama: Path) -> None:
    """A misspelt target would silently train less than was asked for: SF132 with the names that exist."""
    with pytest.raises(ConfigurationError, match=r"query_proj.*down_proj, gate_proj") as caught:
        tiny.local(llama, targets=("q_proj", "query_proj"))
    assert caught.value.code == "SF132"
