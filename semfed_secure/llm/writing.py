"""Open answers: greedy decoding with the adapter acting from the last prompt token onwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from semfed_secure.llm.split import shared_opening

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.llm.adapter import LoraAdapter
    from semfed_secure.llm.questions import Wording


@torch.inference_mode()
def write_greedily(
    adapter: LoraAdapter,
    head: nn.Linear,
    prompts: Sequence[Sequence[int]],
    *,
    wording: Wording,
    max_new_tokens: int,
    batch: int,
) -> list[str]:
    """The most likely continuation of each prompt, up to its end, its first line's end, or ``max_new_tokens``.

    The same adapter gives the same text for a prompt, whatever else stands in the batch (beyond rounding).
    """
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    written = [""] * len(prompts)
    for at in range(0, len(order), batch):
        places = order[at : at + batch]
        texts = _batch(adapter, head, [prompts[place] for place in places], wording, max_new_tokens)
        for place, text in zip(places, texts, strict=True):
            written[place] = text
    return written


def _batch(
    adapter: LoraAdapter, head: nn.Linear, prompts: Sequence[Sequence[int]], wording: Wording, max_new_tokens: int
) -> list[str]:
    inner = adapter.model.get_base_model().model
    with adapter.off():
        cache, mask = _read(inner, [prompt[:-1] for prompt in prompts])
    current = torch.tensor([[prompt[-1]] for prompt in prompts])
    going = list(range(len(prompts)))
    tokens: list[list[int]] = [[] for _ in prompts]
    texts = [""] * len(prompts)
    for _ in range(max_new_tokens):
        mask = torch.cat([mask, torch.ones(len(going), 1, dtype=mask.dtype)], 1)
        current = head(_forward(inner, current, mask, cache)[:, -1]).argmax(1, keepdim=True)
        rows = []
        for row, (place, token) in enumerate(zip(going, current[:, 0].tolist(), strict=True)):
            if token == wording.end:
                continue
            tokens[place].append(token)
            line, ended, _ = wording.text(tokens[place]).lstrip().partition("\n")
            texts[place] = line.strip()
            if not ended:
                rows.append(row)
        if not rows:
            break
        if len(rows) < len(going):  # who has ended is not read on
            kept = torch.tensor(rows)
            going, current, mask = [going[row] for row in rows], current[kept], mask[kept]
            cache.batch_select_indices(kept)
    return texts


def _forward(inner: Any, ids: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
    """Final hidden states of the newest tokens; positions count real tokens only."""
    positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    output = inner(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
    hidden: Tensor = output.last_hidden_state
    return hidden


def _read(inner: Any, texts: Sequence[Sequence[int]]) -> tuple[DynamicCache, Tensor]:
    """Keys and values of texts, padded on the left, and the mask of what is no padding ``(texts, tokens)``.

    Read with padding on the right, where causal attention never looks; what all texts open with is read once.
    """
    widest, cache = max(map(len, texts)), DynamicCache()
    ids = torch.zeros(len(texts), widest, dtype=torch.long)
    for place, text in enumerate(texts):
        ids[place, : len(text)] = torch.tensor(text)
    shared = shared_opening(texts, (0,) * len(texts))
    if shared:
        inner(input_ids=ids[:1, :shared], past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(len(texts))
    if widest > shared:
        inner(input_ids=ids[:, shared:], past_key_values=cache, use_cache=True)
    padding = torch.tensor([widest - len(text) for text in texts])
    from_place = (torch.arange(widest) - padding[:, None]) % max(1, widest)
    for layer in cache.layers:
        index = from_place[:, None, :, None].expand_as(layer.keys)
        layer.keys, layer.values = layer.keys.gather(2, index), layer.values.gather(2, index)
    return cache, (torch.arange(widest) >= padding[:, None]).long()
