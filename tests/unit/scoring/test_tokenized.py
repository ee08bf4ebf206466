from __future__ import annotations

import numpy as np
import pytest

from multical.models.trie import Trie
from multical.scoring.tokenized import Read, TokenizedQuestion, common_prefix, shared_prefix


def path(trie: Trie, node: int) -> list[int]:
    """The tokens from the start to `node`."""
    tokens: list[int] = []
    while node >= 0:
        tokens.insert(0, trie.tokens[node])
        node = trie.parents[node]
    return tokens


@pytest.mark.parametrize(
    ("sequences", "length"),
    [
        ([[1, 2, 3]], 3),
        ([[1, 2, 3], [1, 2]], 2),
        ([[1, 2], [1, 3], [1, 2, 4]], 1),
        ([[1], [2]], 0),
        ([[], [1]], 0),
    ],
)
def test_common_prefix(sequences: list[list[int]], length: int) -> None:
    assert common_prefix(sequences) == length


def test_each_prefix_is_one_node_and_keeps_its_path() -> None:
    multiple_choice, plain = [1, 2, 3, 4], [1, 2, 5]
    options = [[1, 2, 5, 6], [1, 2, 5, 6, 7], [1, 2, 5, 8, 9, 7]]
    trie = Trie()
    read = Read.of(TokenizedQuestion(multiple_choice, plain, options), trie)
    prefixes = {tuple(s[:i]) for s in (multiple_choice, *(o[:-1] for o in options))
                for i in range(1, len(s) + 1)}  # fmt: skip
    assert sorted(tuple(path(trie, node)) for node in range(len(trie))) == sorted(prefixes)
    assert all(parent < node for node, parent in enumerate(trie.parents))
    assert read.answer is not None
    assert path(trie, read.answer) == multiple_choice
    for option, targets in zip(options, read.targets, strict=True):
        assert [token for _, token in targets] == option[3:]
        for number, (node, _) in enumerate(targets):
            assert path(trie, node) == option[: 3 + number]


def test_depths_and_ancestors_are_those_of_the_paths() -> None:
    """Of two questions, which share their first tokens."""
    trie = Trie()
    one = TokenizedQuestion([1, 2, 3, 4], [1, 2, 5], [[1, 2, 5, 6, 7], [1, 2, 5, 8, 7]])
    Read.of(one, trie)
    Read.of(TokenizedQuestion([1, 2, 3, 9], [1, 4, 5], [[1, 4, 5, 6, 7], [1, 4, 5, 8, 7]]), trie)
    for node in range(len(trie)):
        assert trie.depths[node] == len(path(trie, node)) - 1
        above = [
            n for n in range(len(trie)) if path(trie, node)[: len(path(trie, n))] == path(trie, n)
        ]
        np.testing.assert_array_equal(np.flatnonzero(trie.ancestors()[node]), above)


def test_a_question_adds_what_is_missing_and_can_be_cut_off() -> None:
    trie, one = Trie(), TokenizedQuestion([1, 2, 3], [1, 2, 5], [[1, 2, 5, 6, 7], [1, 2, 5, 8]])
    first = Read.of(one, trie)
    tokens, parents, depths = list(trie.tokens), list(trie.parents), list(trie.depths)
    assert Read.of(one, trie) == first
    assert trie.tokens == tokens
    second = Read.of(TokenizedQuestion([1, 2, 4], [1, 2, 6], [[1, 2, 6, 6], [1, 2, 6, 8]]), trie)
    assert len(trie) == len(tokens) + 2
    assert second.answer == len(tokens)
    trie.cut(len(tokens))
    assert (trie.tokens, trie.parents, trie.depths) == (tokens, parents, depths)


def test_all_options_are_scored_from_where_the_first_leaves_the_prompt() -> None:
    """The prompt's last token 5 merges with the second option's text into 9."""
    question = TokenizedQuestion([1, 2], [1, 4, 5], [[1, 4, 5, 6], [1, 4, 9]])
    targets = Read.of(question, Trie()).targets
    assert [[token for _, token in pairs] for pairs in targets] == [[5, 6], [9]]
    assert question.text_tokens() == [2, 1]
    assert TokenizedQuestion([1, 2], [], [[], []]).text_tokens() == [0, 0]


def test_a_shared_prefix_ends_at_a_branch_or_a_read_node() -> None:
    one = TokenizedQuestion([1, 2, 3, 4], [1, 2, 5], [[1, 2, 5, 6]])
    assert shared_prefix([one]) == [1, 2]
    assert shared_prefix([one, TokenizedQuestion(None, [1, 3], [[1, 3, 4]])]) == [1]
    # the multiple-choice prompt begins the plain one: its last token is read
    assert shared_prefix([TokenizedQuestion([1, 2], [1, 2, 3], [[1, 2, 3, 4]])]) == [1]
    # the last token before the options is read
    assert shared_prefix([TokenizedQuestion(None, [1, 2, 3], [[1, 2, 3, 4, 5], [1, 2, 3, 4]])]) == [
        1,
        2,
    ]
    assert shared_prefix([TokenizedQuestion([1], [2], [[2, 3]])]) == []
    # one prompt alone
    assert shared_prefix([TokenizedQuestion([1, 2, 3], [], [[], []])]) == [1, 2]


def test_a_trie_without_its_prefix_keeps_depths_and_targets() -> None:
    asked = TokenizedQuestion([1, 2, 3, 4], [1, 2, 5], [[1, 2, 5, 6, 7], [1, 2, 5, 8]])
    whole, rest = Trie(), Trie(2)
    Read.of(asked, whole)
    read = Read.of(asked, rest)
    assert len(rest) == len(whole) - 2
    assert rest.depths == whole.depths[2:]
    assert [[t for _, t in pairs] for pairs in read.targets] == [[6, 7], [8]]
    multiple_choice = Trie(1)
    read = Read.of(TokenizedQuestion([1, 2, 3], [], [[], []]), multiple_choice)
    assert (read.targets, read.answer, multiple_choice.tokens) == ([[], []], 1, [2, 3])
