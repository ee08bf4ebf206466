"""Scoring: from a model and questions to letter logits and option log-likelihoods.

What all questions of a group begin with (few-shot examples, say) is run once and its keys
and values shared. A batch is what is left of some questions as tries (see `trie`), padded to
one length and run once with a mask that shows each token its ancestors. Logits are built only
for the positions that a score needs, in bounded chunks.
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

LOGITS_PER_CHUNK = 2**25  # 128 MiB of float32 logits at a time


@dataclass(frozen=True)
class Scores:
    """What a model says of one question: the columns of `records`, in nats.

    The first two are None for a question without the multiple-choice prompt, the last means nothing
    for one without the cloze prompt.
    """

    letter_logits: list[float] | None
    logsumexp: float | None
    text_logliks: list[float]


@dataclass(frozen=True)
class Group:
    """Questions that are scored together: the tokens that all begin with, and the rest.

    Scores depend on the other questions of a group, by rounding alone, and on nothing else.
    """

    prefix: list[int]
    tries: list[Trie]

    @classmethod
    def of(cls, asked: Sequence[TokenizedQuestion]) -> Group:
        """Group questions, at least one."""
        prefix = shared_prefix(asked)
        return cls(prefix, [Trie.of(one, len(prefix)) for one in asked])

    def batches(self, batch_tokens: int) -> list[list[int]]:
        """The tries by number, longest first, in batches of at most `batch_tokens`, padded.

        The prefix counts in each row, since its keys and values are held for each.
        """
        order = sorted(range(len(self.tries)), key=lambda i: -len(self.tries[i]))
        made = []
        while order:
            row = len(self.prefix) + len(self.tries[order[0]])
            count = max(1, batch_tokens // row)
            made.append(order[:count])
            order = order[count:]
        return made


#: Gives the scores of a batch, by number: those kept of an earlier try, or the computed ones
Recall = Callable[[int, Callable[[], list[Scores]]], list[Scores]]


class Head:
    """The model's own head, weight, bias and soft cap, into one reused float32 buffer.

    Fresh memory for each chunk of logits costs more time than filling it.
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
        self._checked = 0  # 1: that a prefix can be shared; 2: a trie's branches, too
        self._prefix: list[int] = []
        self._cache = DynamicCache()

    @property
    def positions(self) -> float:
        """Tokens that the model takes at once."""
        return getattr(self.config, "max_position_embeddings", None) or math.inf

    def check_length(self, one: TokenizedQuestion, name: str) -> None:
        """Raise `InputError` naming a question that is longer than the model's positions."""
        if (length := one.length) > self.positions:
            raise InputError(f"question {name}: {length} tokens, the model takes {self.positions}")

    def score(
        self,
        group: Group,
        recall: Recall = lambda _, run: run(),
        advance: Callable[[int], object] = lambda count: None,
    ) -> list[Scores]:
        """Score a group, longest first; the result is in its order.

        `advance` is told how many questions were done. Raises `InputError` for a model that
        gives a trie other scores than its paths one by one.
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
        """Keys and values of the shared prefix, computed when it changes, `rows` times."""
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
        """Additive attention masks: one, or one per kind of layer for models that mix them."""
        full = torch.zeros(seen.shape, dtype=self.model.dtype, device=seen.device)
        full = full.masked_fill(~seen, torch.finfo(full.dtype).min)
        window = getattr(self.config, "sliding_window", None)
        sliding = full
        if window:
            own = torch.from_numpy(depths).to(seen.device)
            keys = torch.cat([torch.arange(shared, device=own.device).expand(len(own), -1), own], 1)
            near = own[:, :, None] - keys[:, None, :] < window
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
        """Scores from hidden states (rows, width, model width): logits only where read."""
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
            asked = (answers >= start) & (answers < stop)
            for k, ids in enumerate(self.letters):
                values = logits[(answers[asked] - start)[:, None], ids]
                letters[asked, k] = values.logsumexp(-1).cpu()
            totals[start:stop] = logsumexp_(logits).cpu()

        answered = zip(letters.tolist(), totals[answers].tolist(), strict=True)
        said = dict(zip(multiple_choice, answered, strict=True))
        logprobs = iter((chosen - totals[places]).double().tolist())
        scores = []
        for row, trie in enumerate(tries):
            logits, total = said.get(row, (None, None))
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
        """Refuse a model that does not keep to attention masks (a recurrent one, say).

        By the log-likelihood of the last option's text, or, without texts, of all letters.
        """
        (said,) = self._run([trie], prefix)
        read: Sequence[Any]  # of each log-probability, the tokens that share it
        if targets := trie.targets[-1]:  # the last path to be added: all others stand before it
            read, found = [[token] for _, token in targets], said.text_logliks[-1]
            logprobs = self._plainly(trie, targets[-1][0], prefix, len(targets))
        else:
            logits, total = said.letter_logits or [], said.logsumexp or 0.0
            read, found = self.letters[: len(logits)], sum(logits) - len(logits) * total
            logprobs = self._plainly(trie, trie.answer, prefix, 1).expand(len(read), -1)
        pairs = zip(logprobs, read, strict=True)
        expected = sum(row[ids].logsumexp(0).item() for row, ids in pairs)
        if abs(found - expected) > 0.02 * max(1.0, abs(expected)) + 0.1 * len(read):
            name = self.model.config.model_type
            raise InputError(
                f"model type {name}: log-likelihood {found:.3f} under a tree mask, expected "
                f"{expected:.3f}; it cannot share tokens among questions or their options"
            )

    def _plainly(self, trie: Trie, node: Any, prefix: list[int], count: int) -> Tensor:
        """Log-probabilities (count, vocabulary) at the end of the path to a node, by themselves."""
        path = [*prefix, *(trie.tokens[one] for one in trie.path(node))]
        ids = torch.tensor([path], device=self.model.device)
        hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
        logits = self.model.get_output_embeddings()(hidden[-count:]).float()
        if self.head.cap is not None:
            logits = self.head.cap * torch.tanh(logits / self.head.cap)
        return logits.log_softmax(-1)
