"""The conversations of a batch as a tree of tokens, so that no common beginning is computed twice.

A causal model computes the same state for a token in the tree as in its conversation if the token
attends only to its ancestors and has its depth as position. Gradients of shared tokens are then
the sums over their conversations. Short conversations under one system prompt have a third of the
tokens.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

#: Tokens of the largest tree, since all of them attend to a mask of all
LARGEST = 1024
#: The largest size of a tree that is worth it, as a share of the padded batch
WORTHWHILE = 0.9


class Tree(NamedTuple):
    """A batch for the model, and where its tokens are."""

    inputs: dict[str, Tensor]  # one row of tokens, their positions and their mask
    nodes: Tensor  # for each token of the padded batch, its place in the row


def tree(model: Any, ids: Tensor, real: Tensor) -> Tree | None:
    """The tree of padded rows, or None if it would be large or longer than a window of attention.

    Args:
        ids: token ids, (rows, length).
        real: which of them are no padding.
    """
    config = model.config.get_text_config()
    windows = (getattr(config, key, None) for key in ("sliding_window", "attention_chunk_size"))
    if any(window and window < ids.shape[1] for window in windows):
        return None
    known: dict[tuple[int, int], int] = {}  # the node of a token after a node
    nodes = torch.zeros(ids.shape, dtype=torch.long)
    for row, (tokens, kept) in enumerate(zip(ids.tolist(), real.tolist(), strict=True)):
        node = -1
        for at, token in enumerate(tokens):
            if kept[at]:
                node = known.setdefault((node, token), len(known))
                nodes[row, at] = node
    if len(known) > min(LARGEST, WORTHWHILE * ids.numel()):
        return None
    seen = torch.eye(len(known), dtype=torch.bool)
    for (parent, _), node in known.items():  # parents come first
        if parent >= 0:
            seen[node] |= seen[parent]
    mask = torch.zeros(seen.shape, dtype=model.dtype)
    mask.masked_fill_(~seen, torch.finfo(model.dtype).min)
    inputs = {
        "input_ids": torch.tensor([[token for _, token in known]]),
        "position_ids": seen.sum(-1)[None] - 1,
        "attention_mask": mask[None, None],
    }
    return Tree({k: v.to(ids.device) for k, v in inputs.items()}, nodes.to(ids.device))


@torch.no_grad()
def shareable(model: Any) -> bool:
    """Whether a tree has the same hidden states: not in recurrent layers, nor with dropout."""
    ids = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 7, 9, 8]], device=model.device)
    shared = tree(model, ids, torch.ones_like(ids))
    if shared is None:
        return False
    training = model.training
    with torch.random.fork_rng():
        model.train()
        rows = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        try:
            one = model.base_model(**shared.inputs, use_cache=False).last_hidden_state
        except (TypeError, RuntimeError):  # it takes no positions, or no such mask
            return False
        finally:
            model.train(training)
    return bool((rows - one[0, shared.nodes]).norm() < 1e-2 * rows.norm())
