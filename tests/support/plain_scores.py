"""Questions as tokens, and their scores from one plain forward per text."""

from __future__ import annotations

import random
from typing import Any

import torch
from transformers import PreTrainedModel

from multical.scoring.scorer import Scorer, Scores
from multical.scoring.tokenized import TokenizedQuestion

VOCABULARY = 97
LETTERS = [[i, i + 20] for i in range(10)]


def questions(prefix: int, seed: int = 0, vocabulary: int = VOCABULARY) -> list[TokenizedQuestion]:
    """Questions that all begin with the same `prefix` tokens, with 2 to 10 options."""
    generator = random.Random(seed)

    def draw(count: int) -> list[int]:
        return [generator.randrange(vocabulary) for _ in range(count)]

    shared, made = draw(prefix), []
    for count in [*range(2, 11), 4, 4, 4]:
        start = shared + draw(generator.randrange(2, 9))
        plain = [*start, 8]
        options = [plain + draw(generator.randrange(1, 6)) for _ in range(count)]
        made.append(TokenizedQuestion([*start, 7, *draw(9)], plain, options))
    q = made[-1]
    longer = [*q.options[0], 5, 6]
    made.append(q._replace(options=[q.options[0], longer, [*q.cloze, 3], [*longer[:-1], 4]]))
    merged = [*q.cloze[:-1], 9, 3]  # the prompt's last token is another one here
    made.append(q._replace(options=[q.options[0], merged]))
    return made


def plainly(model: PreTrainedModel, question: TokenizedQuestion) -> Scores:
    """The definition: a full forward for the letters, and one for each option."""
    sequences = [question.cloze, *question.options]
    start = 0
    while all(len(s) > start and s[start] == question.cloze[start] for s in sequences):
        start += 1
        if start == len(question.cloze):
            break

    def on_device(tokens: Any) -> torch.Tensor:
        return torch.tensor([tokens], device=model.device)

    with torch.no_grad():
        logits = model(on_device(question.multiple_choice)).logits[0, -1]
        sums = []
        for option in question.options:
            logprobs = model(on_device(option)).logits[0].log_softmax(-1)
            sums.append(sum(logprobs[i - 1, option[i]].item() for i in range(start, len(option))))
    letters = [logits[ids].logsumexp(0).item() for ids in LETTERS[: len(question.options)]]
    return Scores(letters, logits.logsumexp(0).item(), sums)


def flat(scores: list[Scores]) -> list[float]:
    numbers: list[float] = []
    for one in scores:
        assert one.letter_logits is not None
        assert one.logsumexp is not None
        numbers += [*one.letter_logits, one.logsumexp, *one.text_logliks]
    return numbers


def score(
    model: PreTrainedModel, asked: list[TokenizedQuestion], batch_tokens: int = 300
) -> list[Scores]:
    scorer = Scorer(model, LETTERS, batch_tokens)
    for number, question in enumerate(asked):
        scorer.check(question, f"q{number}")
    return scorer.score(scorer.group(asked))
