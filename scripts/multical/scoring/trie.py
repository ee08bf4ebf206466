"""Questions as tries of tokens, so that no prefix is computed twice.

The prompt with lettered options, and the cloze prompt followed by the text of each option, are
paths in one trie, and further questions add paths to it. A causal model computes the same state
for a token in the trie as in its path alone if the token attends only to its ancestors and has its
depth as position.
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
        multiple_choice: the prompt that lists the options, or None for no such prompt.
        cloze: the prompt without options; empty for no such prompt.
        options: per option, the cloze prompt joined with the option's text; each is empty
            without a cloze prompt.
    """

    multiple_choice: Tokens | None
    cloze: Tokens
    options: Sequence[Tokens]

    def start(self) -> int:
        """The first position at which any option differs from the cloze prompt.

        All options are scored from this position on. It is the same for all, since the last token
        of the prompt may merge with some options and not with others.
        """
        return min(common_prefix([self.cloze, option]) for option in self.options)

    def text_tokens(self) -> list[int]:
        """Per option, the number of tokens whose log-probabilities add up to that of its text."""
        start = self.start() if self.cloze else 0
        return [len(option[start:]) for option in self.options]

    def sequences(self) -> list[Tokens]:
        """All token sequences for the model."""
        return [tokens for tokens in (self.multiple_choice, *self.options) if tokens]

    @property
    def length(self) -> int:
        """Number of tokens of the longest sequence."""
        return max(map(len, self.sequences()))


def shared_prefix(questions: Sequence[TokenizedQuestion]) -> list[int]:
    """The tokens that all questions begin with, without positions that a score needs."""
    length = common_prefix([tokens for question in questions for tokens in question.sequences()])
    for question in questions:
        if question.multiple_choice is not None:
            length = min(length, len(question.multiple_choice) - 1)
        if question.cloze:
            length = min(length, question.start() - 1)
    return list(questions[0].sequences()[0][: max(0, length)])


class Read(NamedTuple):
    """Where the scores of a question are read in a trie.

    Attributes:
        answer: node of the last token of the multiple-choice prompt; None without that prompt.
        targets: per option, the (node, token id) pairs whose log-probabilities sum to the
            log-likelihood of the option's text.
    """

    answer: int | None
    targets: list[list[tuple[int, int]]]


@dataclass
class Trie:
    """The tokens of some questions, with each distinct prefix once.

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

    def add(self, question: TokenizedQuestion) -> Read:
        """Add the nodes of a question that the trie lacks, and return where to read its scores."""
        answer = None
        if question.multiple_choice is not None:
            answer = self._add(question.multiple_choice[self.skipped :])[-1]
        start = max(0, question.start() - self.skipped)  # below 0 without a cloze prompt
        targets = []
        for tokens in question.options:
            option = tokens[self.skipped :]
            path = self._add(option[:-1])
            targets.append([(path[i - 1], option[i]) for i in range(start, len(option))])
        return Read(answer, targets)

    def _add(self, tokens: Tokens) -> list[int]:
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

    def ancestors(self) -> np.ndarray:
        """Boolean (nodes, nodes): whether the column's node is the row's node or its ancestor."""
        seen = np.eye(len(self), dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] |= seen[parent]
        return seen
