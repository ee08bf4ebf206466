"""Scoring: from a model and questions to letter logits and option log-likelihoods.

The tokens that all questions of a group begin with, such as few-shot examples, run once, and the
questions share their keys and values. The remaining tokens of neighbouring questions are a trie
(see `tokenized`). A batch of tries is padded to one length, or is a single one, and runs once, with
a mask that shows each token its ancestors. Logits are computed for the positions that a score
needs, in tiles of the vocabulary. A model that cannot share tokens so runs each text by itself.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from inspect import signature
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from multical.errors import InputError
from multical.models import cpu_attention, cpu_products
from multical.models import logits as model_logits
from multical.models.trie import Trie
from multical.scoring.tokenized import Read, TokenizedQuestion, shared_prefix

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Tokens of a trie, unless its only question or the shared prefix is longer: enough for little
#: padding, and so few that attention among questions, which the mask hides, costs little
TRIE_TOKENS = 128
#: Tokens of a trie and its prefix where such attention costs nothing, so that a batch can be a
#: single row, without padding: few enough for a small mask
ROW_TOKENS = 2048
#: Logits of a tile, in float32: on CPUs so few that they stay in the cache
CPU_LOGITS, GPU_LOGITS = 2**21, 2**25


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
class Row:
    """A trie, and the questions in it by their index in the group."""

    trie: Trie
    questions: dict[int, Read]

    def __len__(self) -> int:
        return len(self.trie)


@dataclass(frozen=True)
class Group:
    """Questions that are scored together: their shared prefix, and the rest of them as tries.

    The other questions of its group change the scores of a question only by rounding. Questions of
    other groups do not change them at all.
    """

    prefix: list[int]
    rows: list[Row]

    @classmethod
    def of(cls, questions: Sequence[TokenizedQuestion], row_tokens: int = 0) -> Group:
        """Group one or more questions. Questions that begin alike come into the same trie.

        Args:
            row_tokens: tokens that a row may have with its prefix, if more than by default.
        """
        prefix = shared_prefix(questions)
        limit = max(TRIE_TOKENS, len(prefix), row_tokens - len(prefix))
        rows: list[Row] = []
        for i in sorted(range(len(questions)), key=lambda i: list(questions[i].sequences()[0])):
            if rows:
                length = len(rows[-1])
                read = Read.of(questions[i], rows[-1].trie)
                if len(rows[-1]) <= limit:
                    rows[-1].questions[i] = read
                    continue
                rows[-1].trie.cut(length)
            trie = Trie(len(prefix))
            rows.append(Row(trie, {i: Read.of(questions[i], trie)}))
        return cls(prefix, sorted(rows, key=len, reverse=True))

    def batches(self, batch_tokens: int) -> Iterator[list[Row]]:
        """Batches of rows, longest first, with at most `batch_tokens` padded tokens.

        The prefix counts for each row, since each holds a copy of its keys and values.
        """
        rest = self.rows
        while rest:
            count = max(1, batch_tokens // (len(self.prefix) + len(rest[0])))
            yield rest[:count]
            rest = rest[count:]


#: A function of the number of a batch and of a function that computes its scores. It returns the
#: scores, either saved by a killed job or computed
Recall = Callable[[int, Callable[[], list[Scores]]], list[Scores]]


#: Products of a part of the head's weight, (tile, width), with hidden states: (positions, tile)
Outputs = Callable[[Tensor], Tensor]


class Head:
    """The output head of the model, and what its forward does after it, in float32.

    Each tile of its weight is read once for all positions of a batch. Buffers are reused, since new
    memory for each tile of logits takes longer than filling it. Where weight and hidden states are
    bfloat16, instructions that round to it, or to TF32, change nothing, and sums stay in float32.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.after = model_logits.after_head(model)
        head = model_logits.head(model)
        self.weight = head.weight[: self.after.size]
        self.bias = None if head.bias is None else head.bias[: self.after.size]
        self.size = CPU_LOGITS if self.weight.device.type == "cpu" else GPU_LOGITS
        self._buffers: dict[str, Tensor] = {}

    def read(
        self, hidden: Tensor, places: np.ndarray, tokens: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Logsumexp of all logits at each position, and the logits of some tokens.

        Args:
            hidden: last hidden states, (positions, width).
            places, tokens: the position and the id of each wanted token, (wanted,).

        Returns:
            arrays in float32, (positions,) and (wanted,).
        """
        with self._multiplied(hidden) as outputs:
            return self._read(outputs, len(hidden), places, tokens)

    def _read(
        self, outputs: Outputs, count: int, places: np.ndarray, tokens: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        height = max(1, min(self.size // count, len(self.weight)))
        order = np.argsort(tokens, kind="stable")
        starts = range(0, len(self.weight), height)
        ends = np.searchsorted(tokens[order], [*starts[1:], len(self.weight)])
        wanted = np.empty(len(tokens), dtype=np.float32)
        top = torch.full((count,), -math.inf, device=self.weight.device)
        total = torch.zeros_like(top)
        for start, first, end in zip(starts, [0, *ends], ends, strict=False):
            logits = self._logits(outputs, slice(start, start + height))
            chosen = order[first:end]
            where = torch.from_numpy(np.stack([places[chosen], tokens[chosen] - start]))
            wanted[chosen] = logits[tuple(where.to(logits.device))].cpu().numpy()
            higher = torch.maximum(top, logits.amax(-1))
            terms = model_logits.exp_less(logits, higher, out=logits).sum(-1)
            total = total * (top - higher).exp() + terms
            top = higher
        return (total.log() + top).cpu().numpy(), wanted

    def _logits(self, outputs: Outputs, tile: slice) -> Tensor:
        """Logits (positions, tile). The next call overwrites them."""
        logits = outputs(self.weight[tile])
        if self.bias is not None:
            logits += self.bias[tile].float()
        return self.after(logits)

    @contextmanager
    def _multiplied(self, hidden: Tensor) -> Iterator[Outputs]:
        """A function of a part of the weight (tile, width): its products, (positions, tile)."""
        # a model on several GPUs may have its head on another one than its last layer
        hidden = hidden.to(self.weight.device)
        if hidden.dtype == self.weight.dtype and cpu_products.faster(self.weight):
            factor = cpu_products.Factor(hidden)

            def at_once(part: Tensor) -> Tensor:
                shape = (max(len(part), cpu_products.ROWS), factor.columns)
                return factor.times(part, self._buffer("logits", shape)).T

            yield at_once
            return
        exact = hidden.dtype == self.weight.dtype == torch.bfloat16
        hidden = hidden.float()

        def in_float32(part: Tensor) -> Tensor:
            weight = self._buffer("weight", part.shape).copy_(part)
            return torch.mm(hidden, weight.T, out=self._buffer("logits", (len(hidden), len(part))))

        with _rounding_factors() if exact else nullcontext():
            yield in_float32

    def _buffer(self, name: str, shape: tuple[int, ...]) -> Tensor:
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            buffer = self.weight.new_empty(size, dtype=torch.float32)
            self._buffers[name] = buffer
        return buffer[:size].view(shape)


@contextmanager
def _rounding_factors() -> Iterator[None]:
    """Let torch round the factors of float32 products to bfloat16 or TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class Scorer:
    """Scores tries in batches of bounded size.

    Args:
        model: a causal language model, in evaluation mode.
        letters: per letter, the token ids that stand for it.
        batch_tokens: upper bound of padded tokens in a batch.

    Raises:
        InputError: the model is not causal, or its logits are not those of its head.
    """

    def __init__(
        self, model: PreTrainedModel, letters: Sequence[Sequence[int]], batch_tokens: int
    ) -> None:
        self.model = model
        self.config = model.config.get_text_config()
        self.config.use_cache = False  # unless asked
        self.positions = model_logits.positions(model)
        self.head = Head(model)
        self._check_head()
        self.tokens = min(model_logits.known_tokens(model), self.head.after.size)
        if letters:
            model_logits.check_tokens("letters", chain.from_iterable(letters), self.tokens)
        self.letters = letters
        self.batch_tokens = batch_tokens
        self.row_tokens = min(ROW_TOKENS, batch_tokens) if cpu_attention.serves(model) else 0
        self.shares = True  # whether the model can share tokens, as far as checked
        self._checked = (False, 0)  # whether with branches, and the tokens of the longest trie
        self._prefix: list[int] = []
        self._cache = DynamicCache()

    def check(self, question: TokenizedQuestion, name: str) -> None:
        """Raise `InputError` if the model cannot score the question `name`."""
        empty = question.multiple_choice is not None and not question.multiple_choice
        if empty or (any(question.options) and not question.cloze):
            raise InputError(f"question {name}: found a prompt without tokens, expected some")
        if (length := question.length) > self.positions:
            raise InputError(f"question {name}: {length} tokens, the model takes {self.positions}")
        tokens = chain.from_iterable(question.sequences())
        model_logits.check_tokens(f"question {name}", tokens, self.tokens)
        if question.cloze and not question.start():
            raise InputError(
                f"question {name}: an option changes the first token of the prompt "
                f"({question.cloze[0]}), expected a token before it, to predict it from"
            )

    def group(self, questions: Sequence[TokenizedQuestion]) -> Group:
        """Group questions in rows that are the fastest with the attention of the model."""
        return Group.of(questions, self.row_tokens)

    def score(
        self,
        group: Group,
        recall: Recall = lambda _, run: run(),
        advance: Callable[[int], object] = lambda count: None,
    ) -> list[Scores]:
        """Score a group, the longest questions first. The result has the order of the group.

        Calls `advance` with the number of questions in each finished batch. If the model scores a
        trie differently from its separate paths, they run separately from then on.
        """
        branched = any(read.targets[-1] for row in group.rows for read in row.questions.values())
        batches = list(group.batches(self.batch_tokens))
        found = None
        new = (branched or self._checked[0], len(group.prefix) + len(group.rows[0]))
        if self.shares and (new[0] > self._checked[0] or new[1] > self._checked[1]):
            found = self._sharing(batches[0], group.prefix)
            self.shares, self._checked = found is not None, new
        scored: dict[int, Scores] = {}
        for number, rows in enumerate(batches):
            questions = [question for row in rows for question in row.questions]
            scores = recall(number, partial(self._run, rows, group.prefix, found))
            scored.update(zip(questions, scores, strict=True))
            advance(len(questions))
            found = None
        return [scored[i] for i in range(len(scored))]

    @torch.inference_mode()
    def _run(
        self, rows: Sequence[Row], prefix: list[int], found: Tensor | None = None
    ) -> list[Scores]:
        """Scores of the questions of `rows`, from their hidden states if those were found."""
        if found is None:
            found = (self._together if self.shares else self._separately)(rows, prefix)
        return self._read(rows, found)

    def _together(self, rows: Sequence[Row], prefix: list[int]) -> Tensor:
        """Hidden states (rows, width, model width) of tries, each token once."""
        shared, width = len(prefix), max(map(len, rows))
        ids = np.zeros((len(rows), width), dtype=np.int64)
        depths = np.zeros((len(rows), width), dtype=np.int64)
        seen = np.zeros((len(rows), width, shared + width), dtype=bool)
        seen[:, :, :1] = True  # padding must attend to something
        for index, row in enumerate(rows):
            count = len(row)
            ids[index, :count] = row.trie.tokens
            depths[index, :count] = row.trie.depths
            seen[index, :count, :shared] = True
            seen[index, :count, shared : shared + count] = row.trie.ancestors()
        return model_logits.states(
            self.model,
            input_ids=self._on_device(ids),
            position_ids=self._on_device(depths),
            attention_mask=self._masks(self._on_device(seen), depths, shared),
            past_key_values=self._prefix_cache(prefix, len(rows)),
            use_cache=shared > 0,
        )

    def _separately(self, rows: Sequence[Row], prefix: list[int]) -> Tensor:
        """The same from each path by itself: what is right of it does not change its states."""
        paths = [
            (number, row.trie.path(leaf))
            for number, row in enumerate(rows)
            for leaf in row.trie.leaves()
        ]
        paths.sort(key=lambda path: -len(path[1]))
        width, found = max(map(len, rows)), None
        while paths:
            length = len(prefix) + len(paths[0][1])
            count = max(1, self.batch_tokens // length)
            ids = np.zeros((len(paths[:count]), length), dtype=np.int64)
            for line, (number, nodes) in zip(ids, paths[:count], strict=True):
                tokens = [*prefix, *(rows[number].trie.tokens[node] for node in nodes)]
                line[: len(tokens)] = tokens
            states = model_logits.states(self.model, input_ids=self._on_device(ids))
            if found is None:
                found = states.new_zeros(len(rows), width, states.shape[-1])
            for (number, nodes), own in zip(paths[:count], states, strict=True):
                found[number, nodes] = own[len(prefix) : len(prefix) + len(nodes)]
            paths = paths[count:]
        assert found is not None  # a trie has a leaf
        return found

    def _on_device(self, ids: Any) -> Tensor:
        return torch.as_tensor(ids, device=self.model.device)

    def _prefix_cache(self, tokens: list[int], rows: int) -> DynamicCache | None:
        """Keys and values of the shared prefix, repeated for `rows`. Computed once per prefix."""
        if not tokens:
            return None
        if tokens != self._prefix:
            self._cache = DynamicCache()
            ids = self._on_device([tokens])
            model_logits.states(
                self.model, input_ids=ids, past_key_values=self._cache, use_cache=True
            )
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

    def _read(self, rows: Sequence[Row], hidden: Tensor) -> list[Scores]:
        """Scores of the questions of `rows` from hidden states (rows, width, model width)."""
        index: dict[tuple[int, int], int] = {}
        wanted: list[tuple[int, int]] = []  # position, token
        for number, row in enumerate(rows):
            for answer, targets in row.questions.values():
                if answer is not None:
                    place = index.setdefault((number, answer), len(index))
                    wanted += [(place, token) for ids in self.letters for token in ids]
                for node, token in chain.from_iterable(targets):
                    wanted.append((index.setdefault((number, node), len(index)), token))
        at, nodes = torch.tensor(list(index), device=hidden.device).T
        places, tokens = np.array(wanted, dtype=np.int64).T
        totals, logits = self.head.read(hidden[at, nodes], places, tokens)
        found = iter(zip(logits, logits.astype(float) - totals[places], strict=True))
        scores = []
        for number, row in enumerate(rows):
            for answer, targets in row.questions.values():
                letters, total = None, None
                if answer is not None:
                    total = float(totals[index[number, answer]])
                    per_letter = [[z for z, _ in islice(found, len(ids))] for ids in self.letters]
                    letters = [float(np.logaddexp.reduce(zs)) for zs in per_letter[: len(targets)]]
                texts = [float(sum(p for _, p in islice(found, len(t)))) for t in targets]
                scores.append(Scores(letters, total, texts))
        return scores

    @torch.inference_mode()
    def _check_head(self) -> None:
        """Raise `InputError` if logits are not those of `model` itself."""
        own = model_logits.check_causal(self.model)
        states = model_logits.states(self.model, input_ids=model_logits.sample(self.model)[None])
        places, tokens = np.indices(own.shape).reshape(2, -1)[:, :: max(1, own.numel() // 4096)]
        totals, found = self.head.read(states[0], places, tokens)
        at = torch.as_tensor(np.stack([places, tokens]), device=own.device)
        for ours, plain in (totals, own.float().logsumexp(-1)), (found, own[tuple(at)]):
            if not model_logits.agree(torch.from_numpy(ours), plain.cpu(), self.model.dtype):
                raise InputError(
                    f"model type {self.model.config.model_type}: logits {ours[:4].tolist()} of its "
                    f"head, expected {plain[:4].tolist()} as its forward has them"
                )

    @torch.inference_mode()
    def _sharing(self, rows: Sequence[Row], prefix: list[int]) -> Tensor | None:
        """What `_together` finds, or None, and a message, if the model cannot share tokens.

        Not so with models that ignore attention masks, such as recurrent ones, or that add a bias
        by the place of a token in its row.
        """
        try:
            if "position_ids" not in signature(self.model.forward).parameters:
                raise InputError("it takes no positions")
            states = self._together(rows, prefix)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever architectures say that take no such mask
            why = str(error) or type(error).__name__
        else:
            why = self._difference(rows[0], prefix, states[:1])
            if not why:
                return states
        print(
            f"model type {self.model.config.model_type}: cannot share tokens among questions or "
            f"options, so each runs by itself ({' '.join(why.split())[:200]})",
            file=sys.stderr,
        )
        return None

    def _difference(self, row: Row, prefix: list[int], states: Tensor) -> str:
        """How the scores of the last path of a trie differ from those by itself, or "".

        These are the log-likelihood of the text of the last option or, without texts, those of all
        letters.
        """
        answer, targets = list(row.questions.values())[-1]  # after the paths of all others
        pairs = targets[-1]
        last: Any = pairs[-1][0] if pairs else answer
        asked = Read(None, [pairs]) if pairs else Read(answer, targets)
        path = row.trie.path(last)
        trie = Trie(len(prefix))
        own = dict(zip(path, trie.add([row.trie.tokens[node] for node in path]), strict=True))
        moved = [[(own[node], token) for node, token in pairs] for pairs in asked.targets]
        alone = Row(trie, {0: Read(None if pairs else own[last], moved)})
        (found,) = self._read([Row(row.trie, {0: asked})], states)
        (expected,) = self._read([alone], self._separately([alone], prefix))
        if _near(found, expected, len(pairs) or len(self.letters), self.model.dtype):
            return ""
        return f"log-likelihoods {_compared(found)}, alone {_compared(expected)}"


def _near(found: Scores, expected: Scores, terms: int, dtype: torch.dtype) -> bool:
    """Whether sums of log-probabilities differ only by the rounding of so many terms."""
    ours, plain = _compared(found), _compared(expected)
    off = sum(abs(one - other) for one, other in zip(ours, plain, strict=True))
    exact = dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest"
    return off <= (1e-3 * terms if exact else 0.02 * max(1.0, abs(sum(plain))) + 0.1 * terms)


def _compared(scores: Scores) -> list[float]:
    """The log-likelihoods of texts or, without them, those of letters."""
    if scores.letter_logits is None:
        return scores.text_logliks
    return [logit - (scores.logsumexp or 0.0) for logit in scores.letter_logits]
