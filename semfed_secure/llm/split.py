"""A model split in two: frozen layers that every text passes once, and top layers that carry the adapter.

The adapter acts from the last token of the prompt onwards (as "activated LoRA" does, arXiv 2504.12397): all earlier
tokens are read by the untouched base model. What those tokens leave behind is therefore the same before, during and
after training, for every adapter, and is computed once per text: keys and values of the top layers for the earlier
tokens, and the hidden state that enters the top layers for each active token.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from semfed_secure.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SCALED_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling")
_TEXTS, _FLOATS = 256, 1 << 25  # per pass through the top layers; 134 MB of keys, values and what the caller adds


@dataclass(frozen=True, slots=True)
class States:
    """What the frozen layers leave of some texts.

    Attributes:
        hidden: Entering the top layers, float32 ``(texts, active, width)``, zero beyond a text's own active tokens.
        keys_values: Of the earlier tokens of all texts one after another, float32
            ``(tokens, layers, 2 * heads, head width)``.
        lengths: Earlier tokens of each text, int64 ``(texts,)``.
        active: Active tokens of each text, int64 ``(texts,)``.
    """

    hidden: Tensor
    keys_values: Tensor
    lengths: Tensor
    active: Tensor

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.lengths)

    def take(self, rows: Tensor) -> States:
        """The states of some of the texts, in the order of ``rows``."""
        starts = torch.cumsum(self.lengths, 0) - self.lengths
        lengths = self.lengths[rows]
        offsets = torch.arange(int(lengths.sum())) - torch.repeat_interleave(
            torch.cumsum(lengths, 0) - lengths, lengths
        )
        tokens = torch.repeat_interleave(starts[rows], lengths) + offsets
        active = self.active[rows]
        return States(self.hidden[rows, : int(active.max())], self.keys_values[tokens], lengths, active)

    def runs(self, rows: Tensor, *, floats: int) -> tuple[Tensor, ...]:
        """``rows`` in runs small enough for one pass, each text needing ``floats`` beside its keys and values."""
        each = floats + int(self.lengths[rows].max()) * self.keys_values.shape[1:].numel()
        return torch.split(rows, max(1, min(_TEXTS, _FLOATS // max(1, each))))


def shared_opening(tokens: Sequence[Sequence[int]], active: Sequence[int]) -> int:
    """How many tokens all texts open with, none of them active: what a template says before each question.

    They are read once instead of once per text.
    """
    if len(tokens) == 1:
        return 0
    most = min(len(row) - count for row, count in zip(tokens, active, strict=True))
    first = tokens[0]
    return next((place for place in range(most) if any(row[place] != first[place] for row in tokens)), most)


def join_states(parts: Sequence[States]) -> States:
    """The states of several groups of texts, one after another."""
    widest = max(part.hidden.shape[1] for part in parts)
    hidden = [nn.functional.pad(part.hidden, (0, 0, 0, widest - part.hidden.shape[1])) for part in parts]
    return States(
        torch.cat(hidden),
        torch.cat([part.keys_values for part in parts]),
        torch.cat([part.lengths for part in parts]),
        torch.cat([part.active for part in parts]),
    )


class SplitModel:
    """The frozen layers and the top layers of one causal language model.

    Running `top` on `states` gives what the whole model would give with the adapter off for the earlier tokens and
    on for the active ones.
    """

    def __init__(self, causal: Any, *, layers: int) -> None:
        """Split below the last ``layers`` layers; ``causal`` may hold adapters in those.

        Raises:
            ConfigurationError: SF132 if it is not a plain decoder-only model.
        """
        inner: Any = getattr(causal, "model", None)
        stack = getattr(inner, "layers", None)
        if not isinstance(stack, nn.ModuleList) or not isinstance(getattr(causal, "lm_head", None), nn.Linear):
            expected = "a decoder-only model with `model.layers` and `lm_head` was expected"
            raise ConfigurationError("SF132", f"{expected}, found {type(causal).__name__}")
        if any(getattr(causal.config, name, None) not in {None, 1} for name in _SCALED_LOGITS):
            raise ConfigurationError("SF132", f"{type(causal).__name__} scales its logits, which is not supported yet")
        self.first = max(0, len(stack) - layers)
        self.head: nn.Linear = causal.lm_head
        self._inner, self._stack = inner, stack
        self._top = _shell(inner, stack, self.first)

    @torch.no_grad()
    def states(self, tokens: Sequence[Sequence[int]], active: Sequence[int]) -> States:
        """Read texts with the adapter off; the last ``active[i]`` tokens of text ``i`` are its active ones.

        The caller switches the adapter off.
        """
        widest = max(len(row) for row in tokens)
        ids = torch.zeros(len(tokens), widest, dtype=torch.long)
        for place, row in enumerate(tokens):
            ids[place, : len(row)] = torch.tensor(row)
        cache, shared = DynamicCache(), shared_opening(tokens, active)
        if shared:
            self._inner(input_ids=ids[:1, :shared], past_key_values=cache, use_cache=True)
            cache.batch_repeat_interleave(len(tokens))
        entering: dict[str, Tensor] = {}
        hook = self._stack[self.first].register_forward_pre_hook(
            lambda _, args, named: entering.update(hidden=args[0] if args else named["hidden_states"]),
            with_kwargs=True,
        )
        try:
            # Padding stands on the right, where causal attention never looks.
            self._inner(input_ids=ids[:, shared:], past_key_values=cache, use_cache=True)
        finally:
            hook.remove()
        top = cache.layers[self.first :]
        both = torch.stack([torch.cat([layer.keys, layer.values], 1) for layer in top], 1)
        return _gather(entering["hidden"], both, [len(row) for row in tokens], active)

    def top(self, states: States) -> Tensor:
        """Final hidden states of the active tokens, ``(texts, active, width)``; differentiable in the adapter."""
        # Earlier tokens stand on the left of the active ones without a gap, so that distances between places are
        # distances between tokens: the model itself then knows who sees whom, also within sliding windows.
        most = int(states.lengths.max())
        earlier = torch.arange(most, 0, -1) <= states.lengths[:, None]
        active = torch.arange(states.hidden.shape[1])
        output = self._top(
            inputs_embeds=states.hidden,
            attention_mask=nn.functional.pad(earlier.long(), (0, len(active)), value=1),
            position_ids=states.lengths[:, None] + active,
            past_key_values=self._cache(states, earlier),
            use_cache=True,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def logits(self, hidden: Tensor, among: Tensor | None = None) -> Tensor:
        """What the head makes of final hidden states ``(..., width)``: over the vocabulary, or over ``among`` only."""
        if among is None:
            return self.head(hidden)  # type: ignore[no-any-return] # modules are untyped callables
        bias = None if self.head.bias is None else self.head.bias[among]
        return nn.functional.linear(hidden, self.head.weight[among], bias)

    def _cache(self, states: States, earlier: Tensor) -> DynamicCache:
        """The earlier tokens' keys and values as a cache with the places ``earlier`` filled."""
        padded = torch.zeros(*earlier.shape, *states.keys_values.shape[1:])
        padded[earlier] = states.keys_values
        by_layer = padded.permute(2, 0, 3, 1, 4)  # layers, texts, 2 * heads, tokens, width
        heads = by_layer.shape[2] // 2
        cache = _TopCache(self.first)
        for number, layer in enumerate(by_layer, self.first):
            cache.update(layer[:, :heads], layer[:, heads:], number)
        return cache


class _TopCache(DynamicCache):  # type: ignore[misc] # transformers is not typed for us
    """A cache of the top layers only, which go on by the numbers that they have in the whole model."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self._first = first

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        kept: tuple[Tensor, Tensor] = super().update(key_states, value_states, layer_idx - self._first, *args, **kwargs)
        return kept


@torch.no_grad()
def verify_split(split: SplitModel, causal: Any) -> SplitModel:
    """Compare ``split`` with the whole model on three short texts, the adapter being off or blank; return ``split``.

    What a family does around its layers (scaled embeddings, capped logits, positions that are not rotary) would
    otherwise be left out in silence: training and answers would be those of another model.

    Raises:
        ConfigurationError: SF132 if they differ by more than rounding.
    """
    for length, active in ((1, 1), (6, 1), (9, 4)):
        tokens = torch.arange(1, length + 1) * (causal.config.vocab_size // (length + 1))
        whole = causal(input_ids=tokens[None]).logits[0, -active:]
        own = split.logits(split.top(split.states([tokens.tolist()], [active])))[0]
        if not torch.allclose(own, whole, rtol=0, atol=1e-3 * float(whole.abs().max())):
            raise ConfigurationError("SF132", f"{type(causal).__name__} does more around its layers than can be split")
    return split


def _shell(inner: Any, stack: nn.ModuleList, first: int) -> Any:
    """A model that shares every module with ``inner`` but owns a shorter list of layers."""
    shell = copy.copy(inner)
    shell._modules = dict(inner._modules)  # noqa: SLF001 - a shallow copy shares the registry
    shell.layers = nn.ModuleList(list(stack)[first:])
    shell.config = copy.deepcopy(inner.config)
    shell.config.num_hidden_layers = len(shell.layers)
    if getattr(inner.config, "layer_types", None):
        shell.config.layer_types = list(inner.config.layer_types)[first:]
    return shell


def _gather(hidden: Tensor, both: Tensor, lengths: Sequence[int], active: Sequence[int]) -> States:
    """Cut padding away: each text keeps its active tokens' hidden states and its earlier tokens' keys and values.

    ``hidden`` may lack what all texts open with.
    """
    out = torch.zeros(len(lengths), max(active), hidden.shape[2])
    rows = []
    shared = both.shape[3] - hidden.shape[1]
    for place, (length, count) in enumerate(zip(lengths, active, strict=True)):
        out[place, :count] = hidden[place, length - shared - count : length - shared]
        rows.append(both[place, :, :, : length - count].permute(2, 0, 1, 3))
    counts = torch.tensor(active)
    return States(out, torch.cat(rows).contiguous(), torch.tensor(lengths) - counts, counts)
