"""Scoring: from a model and questions to letter logits and option log-likelihoods.

The tokens that all questions of a group begin with, such as few-shot examples, run once, and the
questions share their keys and values. The remaining tokens of each question are a trie (see
`trie`). A batch of tries is padded to one length and runs once, with a mask that shows each token
its ancestors. Logits are computed in chunks, only for the positions that a score needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from multical.errors import InputError
from multical.scoring.trie import TokenizedQuestion, Trie, shared_prefix

LOGITS_PER_CHUNK = 2**25  # 128 MiB in float32


@dataclass(frozen=True)
class Scores:
    """The scores of one question, as in the columns of `records`, in nats.

    The first two are None without the multiple-choice prompt. The last has no meaning without the
    cloze prompt.
    """

    letter_logits: list[float] | None
    logsumexp: float | None
    text_logliks: list[float]


@dataclass(frozen=True)
class Group:
    """Questions that are scored together: their shared prefix, and the rest of each as a trie.

    The other questions of its group change the scores of a question only by rounding. Questions of
    other groups do not change them at all.
    """

    prefix: list[int]
    tries: list[Trie]

    @classmethod
    def of(cls, questions: Sequence[TokenizedQuestion]) -> Group:
        """Group one or more questions."""
        prefix = shared_prefix(questions)
        return cls(prefix, [Trie.of(question, len(prefix)) for question in questions])

    def batches(self, batch_tokens: int) -> list[list[int]]:
        """Batches of indices of tries, longest first, with at most `batch_tokens` padded tokens.

        The prefix counts for each trie, since each holds a copy of its keys and values.
        """
        order = sorted(range(len(self.tries)), key=lambda i: -len(self.tries[i]))
        batches = []
        while order:
            longest = len(self.prefix) + len(self.tries[order[0]])
            count = max(1, batch_tokens // longest)
            batches.append(order[:count])
            order = order[count:]
        return batches


#: A function of the number of a batch and of a function that computes its scores. It returns the
#: scores, either saved by a killed job or computed
Recall = Callable[[int, Callable[[], list[Scores]]], list[Scores]]


class Head:
    """The output head of the model, with bias and soft cap, in float32.

    It reuses one buffer, since new memory for each chunk of logits takes longer than filling it.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        head = model.get_output_embeddings()
        self.weight = head.weight.float()
        self.bias = None if head.bias is None else head.bias.float()
        self.cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
        self.rows = max(1, LOGITS_PER_CHUNK // len(self.weight))
        self._buffer = self.weight.new_empty(self.rows, len(self.weight))

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (positions, vocabulary) of at most `rows` hidden states (positions, width).

        The result is overwritten by the next call.
        """
        logits = torch.mm(hidden.float(), self.weight.T, out=self._buffer[: len(hidden)])
        if self.bias is not None:
            logits += self.bias
        if self.cap is not None:
            logits.div_(self.cap).tanh_().mul_(self.cap)
        return logits


def logsumexp_(logits: Tensor) -> Tensor:
    """Logsumexp over the last dimension; overwrites `logits`."""
    top = logits.amax(-1, keepdim=True)
    return logits.sub_(top).exp_().sum(-1).log_() + top[:, 0]


class Scorer:
    """Scores tries in batches of bounded size.

    Args:
        model: a causal language model, in evaluation mode.
        letters: per letter, the token ids that stand for it.
        batch_tokens: upper bound of padded tokens in a batch.
    """

    def __init__(
        self, model: PreTrainedModel, letters: Sequence[Sequence[int]], batch_tokens: int
    ) -> None:
        self.model = model
        self.config = model.config.get_text_config()
        self.head = Head(model)
        self.letters = [torch.tensor(ids, device=model.device) for ids in letters]
        self.batch_tokens = batch_tokens
        self._checked = 0  # 1: the model can share a prefix; 2: and it can run tries with branches
        self._prefix: list[int] = []
        self._cache = DynamicCache()

    @property
    def positions(self) -> float:
        """Largest number of tokens that the model takes."""
        return getattr(self.config, "max_position_embeddings", None) or math.inf

    def check_length(self, question: TokenizedQuestion, name: str) -> None:
        """Raise `InputError` if the question `name` has more tokens than the model takes."""
        if (length := question.length) > self.positions:
            raise InputError(f"question {name}: {length} tokens, the model takes {self.positions}")

    def score(
        self,
        group: Group,
        recall: Recall = lambda _, run: run(),
        advance: Callable[[int], object] = lambda count: None,
    ) -> list[Scores]:
        """Score a group, the longest questions first. The result has the order of the group.

        Calls `advance` with the number of questions in each finished batch. Raises `InputError` if
        the model scores a trie differently from its separate paths.
        """
        branched = [trie for trie in group.tries if trie.targets[-1]]
        checked = 2 if branched else 1
        if checked > self._checked:
            self._check(min(branched or group.tries, key=len), group.prefix)
            self._checked = checked
        scores: list[Scores | None] = [None] * len(group.tries)
        for number, batch in enumerate(group.batches(self.batch_tokens)):
            tries = [group.tries[i] for i in batch]
            results = recall(number, partial(self._run, tries, group.prefix))
            for i, result in zip(batch, results, strict=True):
                scores[i] = result
            advance(len(batch))
        return [score for score in scores if score is not None]

    @torch.inference_mode()
    def _run(self, tries: Sequence[Trie], prefix: list[int]) -> list[Scores]:
        shared, width = len(prefix), max(map(len, tries))
        ids = np.zeros((len(tries), width), dtype=np.int64)
        depths = np.zeros((len(tries), width), dtype=np.int64)
        seen = np.zeros((len(tries), width, shared + width), dtype=bool)
        seen[:, :, :1] = True  # padding must attend to something
        for row, trie in enumerate(tries):
            count = len(trie)
            ids[row, :count] = trie.tokens
            depths[row, :count] = trie.depths()
            seen[row, :count, :shared] = True
            seen[row, :count, shared : shared + count] = trie.ancestors()
        device = self.model.device
        outputs = self.model.base_model(
            input_ids=torch.from_numpy(ids).to(device),
            position_ids=torch.from_numpy(depths).to(device),
            attention_mask=self._masks(torch.from_numpy(seen).to(device), depths, shared),
            past_key_values=self._prefix_cache(prefix, len(tries)),
            use_cache=shared > 0,
        )
        return self._read(tries, outputs.last_hidden_state)

    def _prefix_cache(self, tokens: list[int], rows: int) -> DynamicCache | None:
        """Keys and values of the shared prefix, repeated for `rows`. Computed once per prefix."""
        if not tokens:
            return None
        if tokens != self._prefix:
            self._cache = DynamicCache()
            ids = torch.tensor([tokens], device=self.model.device)
            self.model.base_model(input_ids=ids, past_key_values=self._cache, use_cache=True)
            self._prefix = list(tokens)
        cache = DynamicCache()
        layers: list[Any] = self._cache.layers
        for index, layer in enumerate(layers):
            keys, values = (t.expand(rows, -1, -1, -1) for t in (layer.keys, layer.values))
            cache.update(keys, values, index)
        return cache

    def _masks(self, seen: Tensor, depths: np.ndarray, shared: int) -> Any:
        """Additive attention masks: one, or one per kind of layer if there are several kinds."""
        full = torch.zeros(seen.shape, dtype=self.model.dtype, device=seen.device)
        full = full.masked_fill(~seen, torch.finfo(full.dtype).min)
        window = getattr(self.config, "sliding_window", None)
        sliding = full
        if window:
            queries = torch.from_numpy(depths).to(seen.device)
            prefix = torch.arange(shared, device=queries.device).expand(len(queries), -1)
            keys = torch.cat([prefix, queries], 1)
            near = queries[:, :, None] - keys[:, None, :] < window
            sliding = full.masked_fill(~near, torch.finfo(full.dtype).min)
        kinds = getattr(self.config, "layer_types", None)
        if not kinds:
            return sliding[:, None]
        masks = {"full_attention": full[:, None], "sliding_attention": sliding[:, None]}
        if unknown := sorted(set(kinds) - set(masks)):
            name = self.model.config.model_type
            raise InputError(f"model type {name}: layers {unknown}, expected {sorted(masks)}")
        return {kind: masks[kind] for kind in set(kinds)}

    def _read(self, tries: Sequence[Trie], hidden: Tensor) -> list[Scores]:
        """Scores from hidden states (rows, width, model width)."""
        index: dict[tuple[int, int], int] = {}
        pairs = []
        for row, trie in enumerate(tries):
            if trie.answer is not None:
                index.setdefault((row, trie.answer), len(index))
            for targets in trie.targets:
                for node, token in targets:
                    place = index.setdefault((row, node), len(index))
                    pairs.append((place, token))
        rows, nodes = torch.tensor(list(index), device=hidden.device).T
        multiple_choice = [row for row, trie in enumerate(tries) if trie.answer is not None]
        answers = torch.tensor(
            [place for (row, node), place in index.items() if node == tries[row].answer],
            dtype=torch.long,
        )
        places, tokens = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
        picked = hidden[rows, nodes]

        totals = torch.empty(len(index))
        chosen = torch.empty(len(pairs))
        letters = torch.empty(len(multiple_choice), len(self.letters))
        for start in range(0, len(index), self.head.rows):
            stop = start + self.head.rows
            logits = self.head.logits(picked[start:stop])
            here = (places >= start) & (places < stop)
            chosen[here] = logits[places[here] - start, tokens[here]].cpu()
            in_chunk = (answers >= start) & (answers < stop)
            for k, ids in enumerate(self.letters):
                values = logits[(answers[in_chunk] - start)[:, None], ids]
                letters[in_chunk, k] = values.logsumexp(-1).cpu()
            totals[start:stop] = logsumexp_(logits).cpu()

        letter_scores = zip(letters.tolist(), totals[answers].tolist(), strict=True)
        by_row = dict(zip(multiple_choice, letter_scores, strict=True))
        logprobs = iter((chosen - totals[places]).double().tolist())
        scores = []
        for row, trie in enumerate(tries):
            logits, total = by_row.get(row, (None, None))
            scores.append(
                Scores(
                    letter_logits=logits and logits[: len(trie.targets)],
                    logsumexp=total,
                    text_logliks=[sum(next(logprobs) for _ in t) for t in trie.targets],
                )
            )
        return scores

    @torch.inference_mode()
    def _check(self, trie: Trie, prefix: list[int]) -> None:
        """Raise `InputError` for a model that ignores attention masks, such as a recurrent one.

        This compares the log-likelihood of the text of the last option or, without texts, that of
        all letters.
        """
        (scores,) = self._run([trie], prefix)
        token_sets: Sequence[Any]  # for each log-probability, the tokens that it sums over
        if targets := trie.targets[-1]:  # of the last path, which comes after all others
            token_sets, found = [[token] for _, token in targets], scores.text_logliks[-1]
            logprobs = self._logprobs(trie, targets[-1][0], prefix, len(targets))
        else:
            logits, total = scores.letter_logits or [], scores.logsumexp or 0.0
            token_sets, found = self.letters[: len(logits)], sum(logits) - len(logits) * total
            logprobs = self._logprobs(trie, trie.answer, prefix, 1).expand(len(token_sets), -1)
        pairs = zip(logprobs, token_sets, strict=True)
        expected = sum(row[ids].logsumexp(0).item() for row, ids in pairs)
        if abs(found - expected) > 0.02 * max(1.0, abs(expected)) + 0.1 * len(token_sets):
            name = self.model.config.model_type
            raise InputError(
                f"model type {name}: log-likelihood {found:.3f} under a tree mask, expected "
                f"{expected:.3f}; it cannot share tokens among questions or their options"
            )

    def _logprobs(self, trie: Trie, node: Any, prefix: list[int], count: int) -> Tensor:
        """Log-probabilities (count, vocabulary) at the end of a path that runs by itself."""
        path = [*prefix, *(trie.tokens[ancestor] for ancestor in trie.path(node))]
        ids = torch.tensor([path], device=self.model.device)
        hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
        logits = self.model.get_output_embeddings()(hidden[-count:]).float()
        if self.head.cap is not None:
            logits = self.head.cap * torch.tanh(logits / self.head.cap)
        return logits.log_softmax(-1)
