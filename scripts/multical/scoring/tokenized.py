"""Questions as token ids, and where their scores are read in a trie.

The prompt with lettered options, and the cloze prompt followed by the text of each option, are
paths in one trie, and further questions add paths to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from multical.models.trie import Trie

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

    @classmethod
    def of(cls, question: TokenizedQuestion, trie: Trie) -> Read:
        """Add the nodes of a question that `trie` lacks."""
        answer = None
        if question.multiple_choice is not None:
            answer = trie.add(question.multiple_choice[trie.skipped :])[-1]
        start = max(0, question.start() - trie.skipped)  # below 0 without a cloze prompt
        targets = []
        for tokens in question.options:
            option = tokens[trie.skipped :]
            path = trie.add(option[:-1])
            targets.append([(path[i - 1], option[i]) for i in range(start, len(option))])
        return cls(answer, targets)
