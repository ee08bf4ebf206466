"""A question as a trie of tokens, so that no prefix is computed twice.

The prompt with its lettered options, and the plain prompt followed by each option's
text, are paths in one trie. A causal model gives a token the same state in the trie
as in its path alone if it attends to its ancestors only and is told its depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

Tokens = Sequence[int]


def common_prefix(sequences: Sequence[Tokens]) -> int:
    """Length of the longest prefix that all sequences share."""
    first, last = min(map(tuple, sequences)), max(map(tuple, sequences))
    length = min(len(first), len(last))
    return next((i for i in range(length) if first[i] != last[i]), length)


@dataclass
class Trie:
    """One question's tokens, each distinct prefix once.

    Attributes:
        tokens: token id of each node, in an order where parents come first.
        parents: index of each node's parent, -1 at the start of a path.
        answer: node of the lettered prompt's last token; None without that prompt.
        targets: per option, the (node, token id) pairs whose log-probabilities add up to
            the log-likelihood of the option's text.
        prompt_tokens: number of tokens of the lettered prompt, or None.
    """

    answer: int | None = None
    prompt_tokens: int | None = None
    targets: list[list[tuple[int, int]]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def of(cls, lettered: Tokens | None, plain: Tokens, options: Sequence[Tokens]) -> Trie:
        """Build a question's trie.

        Args:
            lettered: tokens of the prompt that lists the options, or None to leave it out.
            plain: tokens of the prompt that does not.
            options: per option, tokens of the plain prompt joined with the option's text.

        The options are scored from the first token at which any of them leaves `plain`, so
        that a prompt whose last token merges with what follows is scored the same for all.
        """
        trie = cls()
        if lettered is not None:
            trie.prompt_tokens = len(lettered)
            trie.answer = trie._add(lettered)[-1]
        start = min(common_prefix([plain, option]) for option in options)
        for option in options:
            path = trie._add(option[:-1])
            trie.targets.append([(path[i - 1], option[i]) for i in range(start, len(option))])
        return trie

    def _add(self, tokens: Tokens) -> list[int]:
        node, path = -1, []
        for token in tokens:
            key = (node, token)
            if key not in self._children:
                self._children[key] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(node)
            node = self._children[key]
            path.append(node)
        return path

    def __len__(self) -> int:
        return len(self.tokens)

    def path(self, node: int) -> list[int]:
        """The nodes from the start to `node`."""
        path = [node]
        while self.parents[path[-1]] >= 0:
            path.append(self.parents[path[-1]])
        return path[::-1]

    def trunk(self) -> int:
        """Number of leading nodes that all paths share and that no score reads."""
        branches = [p + 1 for node, p in enumerate(self.parents) if p != node - 1]
        reads = [node for pairs in self.targets for node, _ in pairs]
        reads += [] if self.answer is None else [self.answer]
        return min([len(self), *branches, *reads])

    def depths(self) -> np.ndarray:
        """Position of each node in its path, (nodes,)."""
        depths = np.zeros(len(self), dtype=np.int64)
        for node, parent in enumerate(self.parents):
            depths[node] = 0 if parent < 0 else depths[parent] + 1
        return depths

    def ancestors(self) -> np.ndarray:
        """Boolean (nodes, nodes): whether the column is the row or above it."""
        seen = np.eye(len(self), dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] |= seen[parent]
        return seen
