"""The conversations of a batch as a trie, so that no common beginning is computed twice.

Gradients of shared tokens are then the sums over their conversations. Short conversations under
one system prompt have a third of the tokens.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from multical.models.trie import Trie

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
    trie = Trie()
    nodes = torch.zeros(ids.shape, dtype=torch.long)
    for row, kept in enumerate(real.bool()):
        nodes[row, kept] = torch.tensor(trie.add(ids[row, kept].tolist()))
    if len(trie) > min(LARGEST, WORTHWHILE * ids.numel()):
        return None
    seen = torch.from_numpy(trie.ancestors())
    mask = torch.zeros(seen.shape, dtype=model.dtype)
    mask.masked_fill_(~seen, torch.finfo(model.dtype).min)
    inputs = {
        "input_ids": torch.tensor([trie.tokens]),
        "position_ids": torch.tensor([trie.depths]),
        "attention_mask": mask[None, None],
    }
    return Tree({k: v.to(ids.device) for k, v in inputs.items()}, nodes.to(ids.device))


@torch.no_grad()
def shareable(model: Any) -> bool:
    """Whether a tree has the same hidden states: not in recurrent layers, nor with dropout."""
    if any(isinstance(module, nn.Dropout) and module.p for module in model.modules()):
        return False  # an adapter's would not show, since it starts at 0
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
