"""A question as a trie of tokens, so that no prefix is computed twice.

The prompt with its lettered options, and the cloze prompt followed by each option's
text, are paths in one trie. A causal model gives a token the same state in the trie
as in its path alone if it attends to its ancestors only and is told its depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

Tokens = Sequence[int]


def common_prefix(sequences: Sequence[Tokens]) -> int:
    """Length of the longest prefix that all sequences share."""
    first, last = min(map(tuple, sequences)), max(map(tuple, sequences))
    length = min(len(first), len(last))
    return next((i for i in range(length) if first[i] != last[i]), length)


class TokenizedQuestion(NamedTuple):
    """One question as token ids.

    Attributes:
        multiple_choice: the prompt that lists the options, or None to leave it out.
        cloze: the prompt that does not; empty to leave it out.
        options: per option, the cloze prompt joined with the option's text; each empty
            where that is left out.
    """

    multiple_choice: Tokens | None
    cloze: Tokens
    options: Sequence[Tokens]

    def start(self) -> int:
        """The first place at which an option leaves the cloze prompt; from there on it is scored.

        It is the same for all options, so that a prompt whose last token merges with what
        follows is scored alike.
        """
        return min(common_prefix([self.cloze, option]) for option in self.options)

    def sequences(self) -> list[Tokens]:
        """All token sequences that a model is to see."""
        return [tokens for tokens in (self.multiple_choice, *self.options) if tokens]

    @property
    def length(self) -> int:
        """Tokens of the longest of them."""
        return max(map(len, self.sequences()))


def shared_prefix(asked: Sequence[TokenizedQuestion]) -> list[int]:
    """The tokens that all questions begin with, before any at which a score is read."""
    length = common_prefix([tokens for one in asked for tokens in one.sequences()])
    for one in asked:
        if one.multiple_choice is not None:
            length = min(length, len(one.multiple_choice) - 1)
        if one.cloze:
            length = min(length, one.start() - 1)
    return list(asked[0].sequences()[0][: max(0, length)])


@dataclass
class Trie:
    """One question's tokens, each distinct prefix once.

    Attributes:
        tokens: token id of each node, in an order where parents come first.
        parents: index of each node's parent, -1 at the start of a path.
        answer: node of the multiple-choice prompt's last token; None without that prompt.
        targets: per option, the (node, token id) pairs whose log-probabilities add up to
            the log-likelihood of the option's text.
        prompt_tokens: number of tokens of the multiple-choice prompt, or None.
        skipped: number of tokens that stand before the first node of each path.
    """

    answer: int | None = None
    prompt_tokens: int | None = None
    skipped: int = 0
    targets: list[list[tuple[int, int]]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def of(cls, asked: TokenizedQuestion, skip: int = 0) -> Trie:
        """A question's trie, without the first `skip` tokens, which all its paths share."""
        trie = cls(skipped=skip)
        if asked.multiple_choice is not None:
            trie.prompt_tokens = len(asked.multiple_choice)
            trie.answer = trie._add(asked.multiple_choice[skip:])[-1]
        start = max(0, asked.start() - skip)  # below 0 for a question without the cloze prompt
        for tokens in asked.options:
            option = tokens[skip:]
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

    def depths(self) -> np.ndarray:
        """Position of each node in its path, skipped tokens counted, (nodes,)."""
        depths = np.zeros(len(self), dtype=np.int64)
        for node, parent in enumerate(self.parents):
            depths[node] = self.skipped if parent < 0 else depths[parent] + 1
        return depths

    def ancestors(self) -> np.ndarray:
        """Boolean (nodes, nodes): whether the column is the row or above it."""
        seen = np.eye(len(self), dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] |= seen[parent]
        return seen
