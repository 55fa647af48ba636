"""Frozen layers once, top layers with the adapter: together they are the whole model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.cache_utils import DynamicCache

from semfed_secure.errors import ConfigurationError
from semfed_secure.llm.adapter import LoraAdapter
from semfed_secure.llm.split import SplitModel, States, join_states, shared_opening, verify_split
from tests.llm import tiny

if TYPE_CHECKING:
    from collections.abc import Sequence

SHAPES = ((1, 1), (2, 1), (9, 1), (5, 5), (17, 3), (30, 12), (3, 2))


def rows(shapes: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Random tokens of given lengths."""
    draw = torch.Generator().manual_seed(2)
    return [torch.randint(1, tiny.VOCABULARY, (length,), generator=draw).tolist() for length, _ in shapes]


def states_of(split: SplitModel, adapter: LoraAdapter, shapes: Sequence[tuple[int, int]]) -> States:
    """States of random texts of given lengths and active tokens."""
    with adapter.off():
        return split.states(rows(shapes), [active for _, active in shapes])


def naive(adapter: LoraAdapter, tokens: list[int], active: int) -> torch.Tensor:
    """One text alone through the whole model: adapter off for the earlier tokens, on for the active ones."""
    whole = adapter.model.get_base_model()
    cache, ids, earlier = DynamicCache(), torch.tensor([tokens]), len(tokens) - active
    if earlier:
        with adapter.off():
            whole.model(input_ids=ids[:, :earlier], past_key_values=cache, use_cache=True)
    logits: torch.Tensor = whole(input_ids=ids[:, earlier:], past_key_values=cache, use_cache=True).logits
    return logits[0]


@torch.no_grad()
def check(split: SplitModel, adapter: LoraAdapter, shapes: Sequence[tuple[int, int]]) -> None:
    """Fail unless the split gives each text what the naive way gives."""
    found = split.logits(split.top(states_of(split, adapter, shapes)))
    for place, (tokens, (_, active)) in enumerate(zip(rows(shapes), shapes, strict=True)):
        torch.testing.assert_close(found[place, :active], naive(adapter, tokens, active), rtol=1e-4, atol=1e-4)


def test_split_is_the_whole_model_with_the_adapter_from_the_first_active_token(
    pair: tuple[SplitModel, LoraAdapter],
) -> None:
    """Adapter off for earlier tokens, on for active ones: every family, mixed lengths, one-token prompts."""
    check(*pair, SHAPES)
    for shape in SHAPES:
        check(*pair, (shape,))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(1, 24), st.integers(1, 12)).map(lambda pair: (max(pair), pair[1])), min_size=1, max_size=6
    )
)
def test_any_mixture_of_lengths(pair: tuple[SplitModel, LoraAdapter], shapes: list[tuple[int, int]]) -> None:
    """What stands beside a text in a batch changes nothing."""
    check(*pair, shapes)


@torch.no_grad()
@pytest.mark.parametrize("opening", [1, 3, 9])
def test_what_all_texts_open_with_is_read_once_and_changes_nothing(
    pair: tuple[SplitModel, LoraAdapter], opening: int
) -> None:
    """A template's opening, shorter and longer than a sliding window, also where one text is nothing else."""
    split, adapter = pair
    texts = [[*range(20, 20 + opening), *tail] for tail in ([5], [6, 7, 8, 9, 10, 11], [5, 8], [])]
    active = [1, 2, 1, 1]
    with adapter.off():
        assert shared_opening(texts, active) == opening - 1
        assert shared_opening(texts[:3], active[:3]) == opening
        states = [split.states(texts, active), split.states(texts[:3], active[:3])]
    for found in (split.logits(split.top(part)) for part in states):
        for row, text, count in zip(found, texts, active, strict=False):
            torch.testing.assert_close(row[:count], naive(adapter, text, count), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_adapter_matters_and_earlier_tokens_do_not_see_it(pair: tuple[SplitModel, LoraAdapter]) -> None:
    """The reference tells the cases apart: adapter off everywhere, and on everywhere, give other values."""
    adapter = pair[1]
    tokens = rows(((17, 3),))[0]
    found = naive(adapter, tokens, 3)
    whole = adapter.model.get_base_model()
    everywhere = whole(input_ids=torch.tensor([tokens])).logits[0, -3:]
    with adapter.off():
        nowhere = whole(input_ids=torch.tensor([tokens])).logits[0, -3:]
    assert (found - everywhere).abs().max() > 0.01
    assert (found - nowhere).abs().max() > 0.01


@torch.no_grad()
def test_states_do_not_depend_on_the_adapter(pair: tuple[SplitModel, LoraAdapter]) -> None:
    """The same states come before and after training."""
    split, adapter = pair
    before = states_of(split, adapter, SHAPES)
    tiny.stir(adapter, scale=0.7)
    after = states_of(split, adapter, SHAPES)
    assert all(torch.equal(getattr(before, name), getattr(after, name)) for name in States.__slots__)


def test_take_and_join_keep_each_text(pair: tuple[SplitModel, LoraAdapter]) -> None:
    """Texts read in two groups, joined and put in another order, are the texts read at once in that order."""
    split, adapter = pair
    order = [6, 0, 3, 3, 1]
    joined = join_states([states_of(split, adapter, SHAPES[:4]), _rest(split, adapter)])
    assert len(joined) == len(SHAPES)
    taken = joined.take(torch.tensor(order))
    for place, own in enumerate(order):
        active, one = SHAPES[own][1], joined.take(torch.tensor([own]))
        assert torch.equal(taken.take(torch.tensor([place])).keys_values, one.keys_values)
        assert torch.equal(taken.hidden[place, :active], one.hidden[0, :active])
        with torch.no_grad():
            found = split.logits(split.top(one))[0, :active]
            torch.testing.assert_close(found, naive(adapter, rows(SHAPES)[own], active), rtol=1e-4, atol=1e-4)


def _rest(split: SplitModel, adapter: LoraAdapter) -> States:
    with adapter.off():
        return split.states(rows(SHAPES)[4:], [active for _, active in SHAPES[4:]])


def test_the_gradient_is_that_of_the_whole_model(pair: tuple[SplitModel, LoraAdapter]) -> None:
    """Training through the split is training the whole model's adapter."""
    split, adapter = pair
    shape = (9, 3)
    split.logits(split.top(states_of(split, adapter, (shape,)))).square().sum().backward()
    found = [parameter.grad.clone() for parameter in adapter.parameters if parameter.grad is not None]
    adapter.model.zero_grad()
    naive(adapter, rows((shape,))[0], 3).square().sum().backward()
    assert len(found) == len(adapter.parameters)
    for own, parameter in zip(found, adapter.parameters, strict=True):
        torch.testing.assert_close(own, parameter.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("layers", [1, 3, 9])
def test_any_number_of_top_layers(layers: int) -> None:
    """One layer, all of them, and more than there are."""
    model = tiny.causal("llama")
    adapter = LoraAdapter(model, tiny.SETTINGS.model_copy(update={"layers": layers}))
    tiny.stir(adapter)
    check(SplitModel(model, layers=layers), adapter, SHAPES)


def test_logits_among_some_tokens_are_those_of_the_whole_head() -> None:
    """A head's bias counts where only some of its tokens are asked for."""
    model = tiny.causal("llama")
    model.lm_head = torch.nn.Linear(32, tiny.VOCABULARY)
    split, among = SplitModel(model, layers=1), torch.tensor([7, 2, 300])
    hidden = torch.randn(4, 32)
    torch.testing.assert_close(split.logits(hidden, among), split.logits(hidden)[:, among])


def test_a_verified_split_is_returned(pair: tuple[SplitModel, LoraAdapter]) -> None:
    """Every supported family passes its own comparison."""
    split, adapter = pair
    with adapter.off():
        assert verify_split(split, adapter.model.get_base_model()) is split


def _gpt2() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=64))


def test_a_family_of_another_shape_is_refused() -> None:
    """GPT-2 keeps its layers elsewhere: SF132 and a sentence that says what was expected."""
    with pytest.raises(ConfigurationError, match=r"`model\.layers`.*GPT2LMHeadModel") as caught:
        SplitModel(_gpt2(), layers=1)
    assert caught.value.code == "SF132"


def test_capped_logits_are_refused() -> None:
    """A model that caps its logits is not silently run without: SF132."""
    model = tiny.causal("gemma3")
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(ConfigurationError) as caught:
        SplitModel(model, layers=1)
    assert caught.value.code == "SF132"


def test_what_a_family_does_around_its_layers_is_noticed() -> None:
    """A model that scales what enters its layers differs from its split: SF132 instead of another model's answers."""
    model = tiny.causal("llama")
    inner = type(model.model)

    class Scaled(inner):
        def forward(self, input_ids=None, inputs_embeds=None, **kwargs):
            embeds = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
            return super().forward(inputs_embeds=3 * embeds, **kwargs)

    model.model.__class__ = Scaled
    with pytest.raises(ConfigurationError) as caught:
        verify_split(SplitModel(model, layers=2), model)
    assert caught.value.code == "SF132"
