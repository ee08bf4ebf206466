"""Conversations as text and tokens, for SFT and for scoring.

Prompts are our own design, since neither paper gives the full text of its prompts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cached_property
from itertools import chain, count, zip_longest
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from multical.data.conversations import Message
from multical.errors import InputError
from multical.patches.chat_templates import date_is

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LETTERS = "ABCDEFGHIJ"
IGNORED = -100  # the label of a token that is not trained on

Messages = Sequence[Message]

#: Messages that show the layout of a template
QUESTION, ANSWER = "(question)", "(answer)"

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
        chat_date: the date for a template that writes today's, as in 2024-07-26.

    Raises:
        InputError: the tokenizer lacks a chat template, offsets or an end-of-sequence token; or
            its template writes words between a prompt and its answer, or today's date without a
            `chat_date`.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, chat_format: str, chat_date: str | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.format = chat_format
        self.date = chat_date
        self.name = tokenizer.name_or_path
        self.template = TEMPLATES.get(chat_format) or template_of(tokenizer)
        if not tokenizer.is_fast or tokenizer.eos_token is None:
            raise InputError(
                f"{self.name}: expected a fast tokenizer with an end-of-sequence token"
            )
        #: the line break that some templates write before an answer, but not after a prompt
        self.opening = ""
        #: the text between a prompt and its answer: a space or nothing
        self.joint = ""
        asked: list[Message] = [{"role": "user", "content": QUESTION}]
        prompt = self.prompt(asked)
        answered = self.render([*asked, {"role": "assistant", "content": ANSWER}])
        between, answer, _ = answered.removeprefix(prompt).partition(ANSWER)
        if not answered.startswith(prompt) or not answer:
            raise InputError(
                f"{self.name}: its chat template changes a prompt when an answer follows"
            )
        if between not in ("", " ", "\n"):
            raise InputError(
                f"{self.name}: its chat template writes {between!r} between a prompt and its "
                "answer, expected a space, a line break or nothing"
            )
        self.opening, self.joint = ("\n", "") if between == "\n" else ("", between)

    def render(self, messages: Messages, generate: bool = False) -> str:
        """The conversation as text; `generate` appends the start of the next answer.

        Raises `InputError` if the template refuses the conversation, such as for a system message.
        """
        dated: dict[str, Any] = {}
        if self.date:  # as Llama's templates call it and write it
            dated["date_string"] = date.fromisoformat(self.date).strftime("%d %b %Y")
        try:
            with date_is(self.date):
                text = self.tokenizer.apply_chat_template(
                    [{"role": m["role"], "content": m["content"]} for m in messages],
                    chat_template=self.template,
                    add_generation_prompt=generate,
                    tokenize=False,
                    **dated,
                )
        except (TemplateError, TypeError) as error:
            roles = ", ".join(m["role"] for m in messages)
            raise InputError(
                f"{self.name}: its chat template refuses messages of {roles} ({error})"
            ) from error
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from error
        return str(text)

    def prompt(self, messages: Messages) -> str:
        """The conversation as text, up to the start of the next answer."""
        return self.render(messages, generate=True) + self.opening

    def encode(self, text: str) -> list[int]:
        """Token ids of a rendered text. If the format is ours, the tokenizer adds BOS.

        What some tokenizers add to the end, such as EOS, is left out: what follows is scored.
        """
        is_ours = self.format in TEMPLATES
        ids = list(self.tokenizer(text, add_special_tokens=is_ours)["input_ids"])
        return ids[: len(ids) - self.added_to_the_end] if is_ours else ids

    @cached_property
    def added_to_the_end(self) -> int:
        """How many special tokens the tokenizer adds to the end of any text."""
        encoded = self.tokenizer("x", return_special_tokens_mask=True)
        return list(encoded["special_tokens_mask"])[::-1].index(0)

    @cached_property
    def end(self) -> str:
        """What a model writes to end its answer: a special token, and the space before it.

        It is what the template writes after an answer. A template that writes no such token after
        the last answer may write one before the next question. Raises `InputError` if neither.
        """
        tokens = {token.content for token in self.tokenizer.added_tokens_decoder.values()}
        tokens |= {*self.tokenizer.all_special_tokens}
        tokens = tokens - {self.tokenizer.bos_token} | {str(self.tokenizer.eos_token)}
        longest_first = sorted(filter(str.strip, tokens), key=len, reverse=True)
        token = re.compile(rf"\s*({'|'.join(map(re.escape, longest_first))})")
        turns: list[Message] = [
            {"role": "user", "content": QUESTION},
            {"role": "assistant", "content": ANSWER},
            {"role": "user", "content": QUESTION},
        ]
        for messages in (turns[:2], turns):
            after = self.render(messages).partition(ANSWER)[2].partition(QUESTION)[0]
            if found := token.match(after):
                return found[0]
        raise InputError(
            f"{self.name}: its chat template writes no token that ends an answer, expected one to "
            "train on; chat_format: tulu has one"
        )

    def answers(self, messages: Messages) -> tuple[str, list[tuple[int, int]]]:
        """The conversation as text, and the span of each answer with its joint and its end.

        A template that writes no end after the last answer gets one. Raises `InputError` if the
        template changes an answer by more than the space around it.
        """
        text, spans, at = self.render(messages), [], 0
        before, answered, after = self._layout(messages, text)
        for turn, start, following in zip(answered, [before, *after], after, strict=False):
            at += len(start)
            content = messages[turn]["content"]
            forms = (content, content.strip(), content.rstrip(), content.lstrip())
            form = next((form for form in forms if text.startswith(form + following, at)), None)
            if form is None:
                raise InputError(
                    f"message {turn}: {self.name}: its chat template changes the text of this "
                    "answer, expected it to change only the space around it"
                )
            if not following.startswith(self.end) and (following.strip() or turn != answered[-1]):
                raise InputError(
                    f"message {turn}: {self.name}: its chat template ends this answer with "
                    f"{following!r}, expected {self.end!r}"
                )
            joint = len(self.joint) if text.endswith(self.joint, 0, at) else 0
            spans.append((at - joint, at + len(form) + len(self.end)))
            at += len(form)
        if at + len(after[-1]) != len(text):
            raise InputError(f"{self.name}: its chat template adds text that depends on an answer")
        return (text if after[-1].startswith(self.end) else text[:at] + self.end), spans

    def _layout(self, messages: Messages, text: str) -> tuple[str, list[int], list[str]]:
        """The text of the template before the first answer, the answers, the text after each.

        They are those of the same conversation with a mark for each answer, so that nothing in a
        message can be taken for a part of the template.
        """
        mark = next(mark for n in count() if (mark := f"answer{n}mark") not in text)
        answered = [n for n, message in enumerate(messages) if message["role"] == "assistant"]
        marked = [Message(role=m["role"], content=m["content"]) for m in messages]
        for turn in answered:
            marked[turn]["content"] = mark
        before, *after = self.render(marked).split(mark)
        if len(after) != len(answered) or not text.startswith(before):
            raise InputError(f"{self.name}: its chat template leaves out or repeats an answer")
        return before, answered, after

    def encode_for_training(self, messages: Messages) -> tuple[list[int], list[int]]:
        """Token ids and labels, both (tokens,). Labels cover answers and their end of turn.

        Raises `InputError` for the format `none`, which has no end of turn, and if no labels cover
        the answers and their ends and nothing else but space.
        """
        if self.format == "none":
            raise InputError(
                "chat_format: found none, expected plain, tulu or template, since a model learns "
                "from the end-of-sequence token where its answers end"
            )
        text, spans = self.answers(messages)
        encoded = self.tokenizer(
            text,
            add_special_tokens=self.format in TEMPLATES,
            return_offsets_mapping=True,
        )
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        trained = [any(_covers(text, span, token) for span in spans) for token in offsets]
        labels = [i if t else IGNORED for i, t in zip(ids, trained, strict=True)]
        self._check_labels(labels, [text[low:high] for low, high in spans])
        return list(ids), labels

    def _check_labels(self, labels: Sequence[int], answers: Sequence[str]) -> None:
        """Raise `InputError` unless the labels, decoded, are the answers, except for space."""
        found = self._decode([label for label in labels if label != IGNORED])
        if found == _without_space("".join(answers)):
            return
        # some tokenizers change the text: they compose characters, or know only some of them
        encoded = (self.tokenizer(a, add_special_tokens=False)["input_ids"] for a in answers)
        expected = self._decode([*chain.from_iterable(encoded)])
        if found != expected:
            pairs = enumerate(zip_longest(found, expected))
            at = next(n for n, (one, other) in pairs if one != other)
            raise InputError(
                f"{self.name}: its tokens do not separate answers from the text around them: "
                f"found {found[at : at + 20]!r} to train on, expected {expected[at : at + 20]!r}"
            )

    def _decode(self, ids: list[int]) -> str:
        return _without_space(str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)))


def template_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """The chat template of a tokenizer: of several named ones, that of the name `default`.

    Raises `InputError` if there is none.
    """
    name, found = tokenizer.name_or_path, tokenizer.chat_template
    if isinstance(found, list):
        found = {named["name"]: named["template"] for named in found}
    if isinstance(found, dict):
        if "default" not in found:
            raise InputError(
                f"{name}: found chat templates {sorted(found)}, expected a default one"
            )
        found = found["default"]
    if not found:
        raise InputError(f"{name}: no chat template, expected one for chat_format: template")
    return str(found)


def _covers(text: str, span: tuple[int, int], token: tuple[int, int]) -> bool:
    """Whether a token is a part of a span of the text, apart from space around the token."""
    (low, high), (start, stop) = span, token
    if not (low < stop and start < high):
        return False
    piece = text[start:stop]
    if piece.strip():
        start, stop = stop - len(piece.lstrip()), start + len(piece.rstrip())
    return low <= start and stop <= high


def _without_space(text: str) -> str:
    return "".join(text.split())


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


def letter_ids(tokenizer: PreTrainedTokenizerBase, letters: str) -> list[list[int]]:
    """Per letter, all token ids whose text, without spaces and BPE marks, is the letter.

    This is the definition of arXiv 2402.13213 (v4). Raises `InputError` for a letter without any.
    """
    marks = "▁Ġ \t\n"
    found: dict[str, list[int]] = {letter: [] for letter in letters}
    for token, number in tokenizer.get_vocab().items():
        if (text := token.strip(marks)) in found:
            found[text].append(number)
    for letter, ids in found.items():
        if not ids:
            raise InputError(f"{tokenizer.name_or_path}: no token for the letter {letter!r}")
    return [sorted(ids) for ids in found.values()]
