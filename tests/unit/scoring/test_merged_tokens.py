"""Prompts whose last token merges with what follows, in languages without spaces."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from multical.models.chat import Chat
from multical.scoring.encoding import Encoder
from multical.scoring.params import JobPrompt
from multical.scoring.prompting import Part
from multical.scoring.scorer import Group, Scorer
from support import tiny

#: Per language a prompt's end, and options; of the second, the tokens hold the prompt's last.
ANSWERS = {
    "zh": ("答案是", ["美元", "是的", "日元"], "案是是的"),
    "ja": ("答えは", ["円です", "はい", "元"], "えははい"),
    "th": ("คำตอบคือ", ["บาท", "อเมริกา", "เยน"], "คืออเม"),
}
PROMPT = JobPrompt(
    name="default",
    multiple_choice="{question}\n{options}",
    cloze="{question}",
    unconditional="So",
)


def tokenizer(end: str, merged: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE that has seen the merged text so often that it is one token."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=list(tiny.SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([merged] * 50 + [end] * 10, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=made, **tiny.SPECIAL)
    fast.chat_template = (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}|"
        + f"{end}{{% else %}}{{{{ m.content }}}}{{{{ eos_token }}}}{{% endif %}}{{% endfor %}}"
    )
    return fast


@pytest.mark.parametrize("fewshot", [0, 2])
@pytest.mark.parametrize("language", ANSWERS)
def test_scores_are_those_of_the_joined_text(language: str, fewshot: int) -> None:
    """All options from where the first leaves the prompt's tokens, by full forwards.

    So are those without the question, before which no examples come.
    """
    end, options, merged = ANSWERS[language]
    words = tokenizer(end, merged)
    asker = Encoder(Chat(words, "template"))
    frame = pd.DataFrame(
        {"question": [f"{'?' * i}{end}" for i in range(1, 6)], "options": [options] * 5,
         "answer": [i % 3 for i in range(5)], "language": language}
    )  # fmt: skip
    rows: list[Any] = list(frame.itertuples())
    part = Part(
        PROMPT,
        language,
        False,
        True,
        frame.iloc[fewshot:],
        rows[:fewshot],
        unconditional=True,
    )
    sizes = {**tiny.SIZES, "vocab_size": len(words)}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**sizes)).eval()
    asked = [form for row in rows[fewshot:] for form in asker.forms(part, row)]
    found = Scorer(model, [[5]] * 3, 200).score(Group.of(asked))
    examples = "".join(f"{one.question}|{end}{options[one.answer]}</s>" for one in rows[:fewshot])
    prompts = [(f"<s>{examples}{row.question}", "<s>So") for row in rows[fewshot:]]
    texts = [f"{text}|{end}" for pair in prompts for text in pair]
    for prompt, one, scores in zip(texts, asked, found, strict=True):
        plain, *joined = (encode(words, prompt + text) for text in ["", *options])
        assert (one.multiple_choice, one.cloze, one.options) == (None, plain, joined)
        assert joined[1][: len(plain)] != plain  # merged, and
        start = one.start()
        assert 0 < start < len(plain)
        assert scores.text_logliks == pytest.approx(
            [loglik(model, tokens, start) for tokens in joined], abs=1e-4
        )


def encode(words: PreTrainedTokenizerFast, text: str) -> list[int]:
    ids: list[int] = words(text, add_special_tokens=False)["input_ids"]
    return ids


def loglik(model: Any, tokens: list[int], start: int) -> float:
    """Of the tokens from `start` on, by one forward over all."""
    with torch.no_grad():
        logprobs = model(torch.tensor([tokens])).logits[0].log_softmax(-1)
    return sum(logprobs[i - 1, tokens[i]].item() for i in range(start, len(tokens)))
