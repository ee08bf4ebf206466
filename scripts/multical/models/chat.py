"""What a model is shown: conversations as text and tokens, for SFT and for scoring alike.

Prompts are our own design: neither paper gives its prompt text in full.
"""

from __future__ import annotations

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

#: Chat formats for base models, which bring none: `plain` is our own; `tulu` is the
#: format of the Tulu models and of paper 1's training scripts; `none` adds no words, and cannot
#: be trained with. The last format, `template`, is the tokenizer's own chat template.
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
        tokenizer: a fast tokenizer (character offsets are needed to mask prompts).
        chat_format: `plain`, `tulu`, `none` or `template`.

    Raises:
        InputError: a tokenizer without the template, offsets or end-of-sequence token
            that this needs, or whose template rewrites a prompt when an answer follows.
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
        prompt, whole = self.prompt(probe), self.render([*probe, _assistant("y")])
        #: what stands between a prompt and its answer: a space or nothing
        self.joint = next((j for j in ("", " ") if whole.startswith(f"{prompt}{j}y")), None)
        if self.joint is None:
            raise InputError(f"{name}: its chat template changes a prompt that is answered")

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
        """The conversation up to the position of the next answer."""
        return self.render(messages, generate=True)

    def encode(self, text: str) -> list[int]:
        """Token ids of a rendered text; templates of our own leave BOS to the tokenizer."""
        own = self.format in TEMPLATES
        return list(self.tokenizer(text, add_special_tokens=own)["input_ids"])

    def encode_for_training(self, messages: Messages) -> tuple[list[int], list[int]]:
        """Token ids and labels, both (tokens,): labels cover answers up to end of sequence.

        Raises `InputError` for a format without one.
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


def _assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}


def fill(
    template: str, question: str, options: Sequence[str], headings: Mapping[str, str] | None = None
) -> str:
    """Fill a prompt: `{question}`, `{options}`, a line "A. text" each, and `{HEADING}`s.

    `{letters}` are the options' letters, as in "A, B and C".
    """
    lines = [f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False)]
    own = LETTERS[: len(options)]
    filled = {
        **(headings or {}),
        "question": question,
        "options": "\n".join(lines),
        "letters": f"{', '.join(own[:-1])} and {own[-1]}",
    }
    # in one pass: what is filled in may hold braces of its own
    names = "|".join(map(re.escape, filled))
    return re.sub(rf"\{{({names})\}}", lambda mark: filled[mark[1]], template)


def letter_ids(tokenizer: PreTrainedTokenizerBase, letter: str) -> list[int]:
    """All token ids that decode, stripped of space and BPE marks, to `letter`.

    Definition of arXiv 2402.13213 (v4). Raises `InputError` where there is none.
    """
    marks = "▁Ġ \t\n"
    ids = sorted(i for token, i in tokenizer.get_vocab().items() if token.strip(marks) == letter)
    if not ids:
        raise InputError(f"{tokenizer.name_or_path}: no token for the letter {letter!r}")
    return ids
