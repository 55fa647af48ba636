"""Open answers: greedy decoding with the adapter acting from the last prompt token onwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

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
    ids, mask = _left_padded(prompts)
    cache = DynamicCache()
    if ids.shape[1] > 1:
        with adapter.off():
            _forward(inner, ids[:, :-1], mask[:, :-1], cache)
    current, going = ids[:, -1:], torch.ones(len(prompts), dtype=torch.bool)
    tokens: list[list[int]] = [[] for _ in prompts]
    texts = [""] * len(prompts)
    for _ in range(max_new_tokens):
        current = head(_forward(inner, current, mask, cache)[:, -1]).argmax(1, keepdim=True)
        for place in going.nonzero().flatten().tolist():
            token = int(current[place, 0])
            if token != wording.end:
                tokens[place].append(token)
                line, ended, _ = wording.text(tokens[place]).lstrip().partition("\n")
                texts[place] = line.strip()
                going[place] = not ended
            else:
                going[place] = False
        if not going.any():
            break
        mask = torch.cat([mask, torch.ones(len(prompts), 1, dtype=mask.dtype)], 1)
    return texts


def _forward(inner: Any, ids: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
    """Final hidden states of the newest tokens; positions count real tokens only."""
    positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    output = inner(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
    hidden: Tensor = output.last_hidden_state
    return hidden


def _left_padded(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    widest = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), widest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for place, prompt in enumerate(prompts):
        ids[place, widest - len(prompt) :] = torch.tensor(prompt)
        mask[place, widest - len(prompt) :] = 1
    return ids, mask
