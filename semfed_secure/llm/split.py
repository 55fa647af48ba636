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
        return States(self.hidden[rows], self.keys_values[tokens], lengths, self.active[rows])


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
        inner = getattr(causal, "model", None)
        stack = getattr(inner, "layers", None)
        if inner is None or not isinstance(stack, nn.ModuleList) or not isinstance(causal.lm_head, nn.Linear):
            raise ConfigurationError("SF132", f"a decoder-only model was expected, found {type(causal).__name__}")
        if any(getattr(causal.config, name, None) not in {None, 1} for name in _SCALED_LOGITS):
            raise ConfigurationError("SF132", f"{type(causal).__name__} scales its logits, which is not supported yet")
        self.first = max(0, len(stack) - layers)
        self.head: nn.Linear = causal.lm_head
        self._inner, self._stack = inner, stack
        self._top = _shell(inner, stack, self.first)
        self._window = getattr(causal.config, "sliding_window", None)
        types = getattr(self._top.config, "layer_types", None)
        self._layer_types: tuple[str, ...] = tuple(dict.fromkeys(types)) if types else ()

    @torch.no_grad()
    def states(self, tokens: Sequence[Sequence[int]], active: Sequence[int]) -> States:
        """Read texts with the adapter off; the last ``active[i]`` tokens of text ``i`` are its active ones.

        The caller switches the adapter off.
        """
        widest = max(len(row) for row in tokens)
        ids = torch.zeros(len(tokens), widest, dtype=torch.long)
        for place, row in enumerate(tokens):
            ids[place, : len(row)] = torch.tensor(row)
        cache = DynamicCache()
        entering: dict[str, Tensor] = {}
        hook = self._stack[self.first].register_forward_pre_hook(
            lambda _, args, named: entering.update(hidden=args[0] if args else named["hidden_states"]),
            with_kwargs=True,
        )
        try:
            # Padding stands on the right, where causal attention never looks.
            self._inner(input_ids=ids, past_key_values=cache, use_cache=True)
        finally:
            hook.remove()
        top = cache.layers[self.first :]
        both = torch.stack([torch.cat([layer.keys, layer.values], 1) for layer in top], 1)
        return _gather(entering["hidden"], both, [len(row) for row in tokens], active)

    def top(self, states: States) -> Tensor:
        """Final hidden states of the active tokens, ``(texts, active, width)``; differentiable in the adapter."""
        count, active, _ = states.hidden.shape
        cache, earlier = self._cache(states)
        positions = states.lengths[:, None] + torch.arange(active)
        output = self._top(
            inputs_embeds=states.hidden,
            attention_mask=self._masks(earlier, positions),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        hidden: Tensor = output.last_hidden_state
        assert hidden.shape[0] == count
        return hidden

    def _cache(self, states: States) -> tuple[DynamicCache, Tensor]:
        """The earlier tokens' keys and values as a cache, and which of its places are filled."""
        earlier = torch.arange(int(states.lengths.max())) < states.lengths[:, None]
        padded = torch.zeros(*earlier.shape, *states.keys_values.shape[1:])
        padded[earlier] = states.keys_values
        by_layer = padded.permute(2, 0, 3, 1, 4)  # layers, texts, 2 * heads, tokens, width
        heads = by_layer.shape[2] // 2
        cache = DynamicCache()
        for number, layer in enumerate(by_layer):
            cache.update(layer[:, :heads].contiguous(), layer[:, heads:].contiguous(), self.first + number)
        return cache, earlier

    def _masks(self, earlier: Tensor, positions: Tensor) -> Tensor | dict[str, Tensor]:
        """Which places each active token sees, ``(texts, 1, active, places)``; per layer type where those differ."""
        count, active = positions.shape
        among = torch.ones(active, active, dtype=torch.bool).tril().expand(count, active, active)
        full = torch.cat([earlier[:, None, :].expand(count, active, earlier.shape[1]), among], 2)
        if not self._layer_types:
            return full[:, None]
        masks = {"full_attention": full[:, None]}
        if self._window is not None:
            places = torch.cat([torch.arange(earlier.shape[1]).expand(count, -1), positions], 1)
            near = positions[:, :, None] - places[:, None, :] < self._window
            masks["sliding_attention"] = (full & near)[:, None]
        if missing := set(self._layer_types) - set(masks):
            raise ConfigurationError("SF132", f"layers of type {', '.join(sorted(missing))} are not supported")
        return masks if len(self._layer_types) > 1 or "sliding_attention" in self._layer_types else full[:, None]


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
    """Cut padding away: each text keeps its active tokens' hidden states and its earlier tokens' keys and values."""
    out = torch.zeros(len(lengths), max(active), hidden.shape[2])
    rows = []
    for place, (length, count) in enumerate(zip(lengths, active, strict=True)):
        out[place, :count] = hidden[place, length - count : length]
        rows.append(both[place, :, :, : length - count].permute(2, 0, 1, 3))
    counts = torch.tensor(active)
    return States(out, torch.cat(rows).contiguous(), torch.tensor(lengths) - counts, counts)
