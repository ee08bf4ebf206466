"""Token sequences as a trie, so that no prefix is computed twice.

A causal model computes the same state for a token in the trie as in its path alone if the token
attends only to its ancestors and has its depth as position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Trie:
    """The tokens of some sequences, with each distinct prefix once.

    Attributes:
        skipped: number of tokens before the first node of each path.
        tokens: token id of each node; parents come before their children.
        parents: index of each node's parent, -1 at the start of a path.
        depths: position of each node in its path, including skipped tokens.
    """

    skipped: int = 0
    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, tokens: Sequence[int]) -> list[int]:
        """Add the nodes that a path lacks, and return all of its nodes."""
        node, path = -1, []
        for depth, token in enumerate(tokens, self.skipped):
            key = (node, token)
            if key not in self._children:
                self._children[key] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(node)
                self.depths.append(depth)
            node = self._children[key]
            path.append(node)
        return path

    def cut(self, length: int) -> None:
        """Remove all but the first `length` nodes. Nothing can be added afterwards."""
        del self.tokens[length:], self.parents[length:], self.depths[length:]
        self._children.clear()

    def __len__(self) -> int:
        return len(self.tokens)

    def path(self, node: int) -> list[int]:
        """The nodes from the start of the path to `node`."""
        path = [node]
        while self.parents[path[-1]] >= 0:
            path.append(self.parents[path[-1]])
        return path[::-1]

    def leaves(self) -> list[int]:
        """The nodes at the end of the longest paths, which together have all nodes."""
        return sorted({*range(len(self))} - {*self.parents})

    def ancestors(self) -> np.ndarray:
        """Boolean (nodes, nodes): whether the column's node is the row's node or its ancestor."""
        seen = np.eye(len(self), dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] |= seen[parent]
        return seen
