"""Conversations as text and tokens, for SFT and for scoring.

Prompts are our own design, since neither paper gives the full text of its prompts.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from multical.data.conversations import Message
from multical.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LETTERS = "ABCDEFGHIJ"
IGNORED = -100  # the label of a token that is not trained on

Messages = Sequence[Message]

#: Chat formats for base models, which have no template: `plain` is our own. `tulu` is the format
#: of the Tulu models and of paper 1's training scripts. `none` adds no words, and cannot be used
#: for training. A fourth format, `template`, is the chat template of the tokenizer.
TEMPLATES = {
    "plain": (
        "{% for m in messages %}"
        "{% if m.role == 'user' %}Question: {{ m.content }}\n"
        "{% elif m.role == 'assistant' %}Answer: {{ m.content }}{{ eos_token }}\n"
        "{% else %}{{ m.content }}\n{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}Answer:{% endif %}"
    ),
    "tulu": (
        "{% for m in messages %}"
        "<|{{ m.role }}|>\n{{ m.content }}{{ eos_token if m.role == 'assistant' else '' }}\n"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    ),
    "none": (
        "{% for m in messages %}"
        "{% if m.role == 'assistant' %} {{ m.content }}\n\n{% else %}{{ m.content }}{% endif %}"
        "{% endfor %}"
    ),
}


class Chat:
    """A tokenizer with a chat format.

    Args:
        tokenizer: a fast tokenizer, whose character offsets tell prompts from answers.
        chat_format: `plain`, `tulu`, `none` or `template`.

    Raises:
        InputError: the tokenizer lacks a chat template, offsets or an end-of-sequence token, or
            its template changes a prompt when an answer follows.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, chat_format: str) -> None:
        self.tokenizer = tokenizer
        self.format = chat_format
        self.template = TEMPLATES.get(chat_format, tokenizer.chat_template)
        name = tokenizer.name_or_path
        if not self.template:
            raise InputError(f"{name}: no chat template, expected one for chat_format: template")
        if not tokenizer.is_fast or tokenizer.eos_token is None:
            raise InputError(f"{name}: expected a fast tokenizer with an end-of-sequence token")
        probe: list[Message] = [{"role": "user", "content": "x"}]
        prompt = self.prompt(probe)
        answered = self.render([*probe, {"role": "assistant", "content": "y"}])
        #: the text between a prompt and its answer: a space or nothing
        self.joint = next((j for j in ("", " ") if answered.startswith(f"{prompt}{j}y")), None)
        if self.joint is None:
            raise InputError(f"{name}: its chat template changes a prompt when an answer follows")

    def render(self, messages: Messages, generate: bool = False) -> str:
        """The conversation as text; `generate` appends the start of the next answer."""
        text = self.tokenizer.apply_chat_template(
            [{"role": m["role"], "content": m["content"]} for m in messages],
            chat_template=self.template,
            add_generation_prompt=generate,
            tokenize=False,
        )
        return str(text)

    def prompt(self, messages: Messages) -> str:
        """The conversation as text, up to the start of the next answer."""
        return self.render(messages, generate=True)

    def encode(self, text: str) -> list[int]:
        """Token ids of a rendered text. If the format is ours, the tokenizer adds BOS.

        What some tokenizers add to the end, such as EOS, is left out: what follows is scored.
        """
        is_ours = self.format in TEMPLATES
        ids = list(self.tokenizer(text, add_special_tokens=is_ours)["input_ids"])
        return ids[: len(ids) - self.added_to_the_end] if is_ours else ids

    @functools.cached_property
    def added_to_the_end(self) -> int:
        """How many special tokens the tokenizer adds to the end of any text."""
        encoded = self.tokenizer("x", return_special_tokens_mask=True)
        return list(encoded["special_tokens_mask"])[::-1].index(0)

    def encode_for_training(self, messages: Messages) -> tuple[list[int], list[int]]:
        """Token ids and labels, both (tokens,). Labels cover answers and their end of sequence.

        Raises `InputError` for the format `none`, which has no end of sequence.
        """
        if self.format == "none":
            raise InputError(
                "chat_format: found none, expected plain, tulu or template, since a model learns "
                "from the end-of-sequence token where its answers end"
            )
        text = self.render(messages)
        spans = []
        for turn, message in enumerate(messages):
            if message["role"] == "assistant":
                start = len(self.prompt(messages[:turn]))
                end = text.index(self.tokenizer.eos_token, start + len(message["content"]))
                spans.append((start, end + len(self.tokenizer.eos_token)))
        encoded = self.tokenizer(
            text,
            add_special_tokens=self.format in TEMPLATES,
            return_offsets_mapping=True,
        )
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        trained = [any(low < b and a < high for low, high in spans) for a, b in offsets]
        return list(ids), [i if t else IGNORED for i, t in zip(ids, trained, strict=True)]


def fill(
    template: str, question: str, options: Sequence[str], headings: Mapping[str, str] | None = None
) -> str:
    """Replace the fields in braces of a prompt.

    `{question}` is the question, `{options}` has a line "A. text" per option, `{letters}` is a
    list such as "A, B and C", and `{NAME}` is the heading NAME.
    """
    lines = [f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False)]
    letters = LETTERS[: len(options)]
    texts = {
        **(headings or {}),
        "question": question,
        "options": "\n".join(lines),
        "letters": f"{', '.join(letters[:-1])} and {letters[-1]}",
    }
    # in one pass, since the texts may themselves contain such fields
    names = "|".join(map(re.escape, texts))
    return re.sub(rf"\{{({names})\}}", lambda field: texts[field[1]], template)


def letter_ids(tokenizer: PreTrainedTokenizerBase, letter: str) -> list[int]:
    """All token ids whose text, without spaces and BPE marks, is `letter`.

    This is the definition of arXiv 2402.13213 (v4). Raises `InputError` if there are none.
    """
    marks = "▁Ġ \t\n"
    ids = sorted(i for token, i in tokenizer.get_vocab().items() if token.strip(marks) == letter)
    if not ids:
        raise InputError(f"{tokenizer.name_or_path}: no token for the letter {letter!r}")
    return ids
