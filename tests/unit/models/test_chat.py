from __future__ import annotations

from collections.abc import Callable

import pytest
from tokenizers import normalizers, processors
from transformers import PreTrainedTokenizerFast

from multical.data.conversations import Message
from multical.errors import InputError
from multical.models.chat import IGNORED, Chat, fill, letter_ids
from support import tiny

FORMATS = ("plain", "tulu", "template")  # that one can train with


def turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}


ASKED = [turn("user", "What is the currency of France?")]
CONVERSATIONS = {
    "one turn": [*ASKED, turn("assistant", "Euro")],
    "system": [turn("system", "Be brief."), *ASKED, turn("assistant", "Euro")],
    "three turns": [
        *ASKED, turn("assistant", "Euro"), turn("user", "And Japan?"), turn("assistant", "円"),
        turn("user", "Sure?"), turn("assistant", "yes, the yen"),
    ],
    "answer said before": [turn("user", "Euro? Answer: Euro"), turn("assistant", "Euro")],
    "right to left": [turn("user", "ما عملة فرنسا؟"), turn("assistant", "يورو")],
    "no spaces": [turn("user", "日本の通貨は何ですか"), turn("assistant", "日本円です")],
    "line breaks": [turn("user", "a\n\nb"), turn("assistant", "one\ntwo")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "prompt", "whole"),
    [
        ("plain", "Be brief.\nQuestion: x\nAnswer:", "Be brief.\nQuestion: x\nAnswer: y</s>\n"),
        (
            "tulu",
            "<|system|>\nBe brief.\n<|user|>\nx\n<|assistant|>\n",
            "<|system|>\nBe brief.\n<|user|>\nx\n<|assistant|>\ny</s>\n",
        ),
        (
            "template",
            "<s><|system|>Be brief.<|user|>x<|assistant|>",
            "<s><|system|>Be brief.<|user|>x<|assistant|>y</s>",
        ),
        ("none", "Be brief.x", "Be brief.x y\n\n"),
    ],
)
def test_formats(kind: str, prompt: str, whole: str) -> None:
    chat = Chat(tiny.tokenizer(), kind)
    messages = [turn("system", "Be brief."), turn("user", "x")]
    assert chat.prompt(messages) == prompt
    assert chat.render([*messages, turn("assistant", "y")]) == whole
    assert chat.prompt(messages) + str(chat.joint) + "y" in whole


@pytest.mark.parametrize("kind", [*FORMATS, "none"])
def test_there_is_one_beginning_of_sequence(kind: str) -> None:
    chat = Chat(tiny.tokenizer(), kind)
    ids = chat.encode(chat.prompt(ASKED))
    assert ids[0] == chat.tokenizer.bos_token_id
    assert ids.count(chat.tokenizer.bos_token_id) == 1


@pytest.mark.parametrize("kind", [*FORMATS, "none"])
@pytest.mark.parametrize("ending", ["</s>", "</s> <pad>"])
def test_what_a_tokenizer_adds_to_the_end_is_not_scored(kind: str, ending: str) -> None:
    """Such as EOS: every option would be read behind it."""
    plain, adding = tiny.tokenizer(), tiny.tokenizer()
    ids = {token: plain.convert_tokens_to_ids(token) for token in ("<s>", "</s>", "<pad>")}
    adding.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"<s> $A {ending}", special_tokens=[*ids.items()]
    )
    assert adding("x")["input_ids"][-1] in (ids["</s>"], ids["<pad>"])
    for text in (Chat(plain, kind).prompt(ASKED), "Answer:</s>", ""):
        assert Chat(adding, kind).encode(text) == Chat(plain, kind).encode(text)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("case", CONVERSATIONS)
def test_labels_cover_the_answers_and_their_end(kind: str, case: str) -> None:
    chat, messages = Chat(tiny.tokenizer(), kind), CONVERSATIONS[case]
    ids, labels = chat.encode_for_training(messages)
    assert ids == chat.encode(chat.render(messages))
    assert len(ids) == len(labels)
    assert all(label in (token, IGNORED) for token, label in zip(ids, labels, strict=True))
    answers = [m["content"] for m in messages if m["role"] == "assistant"]
    trained = chat.tokenizer.decode([label for label in labels if label != IGNORED])
    joined = "".join(f"{chat.joint}{answer}</s>" for answer in answers)
    assert trained == joined


@pytest.mark.parametrize("kind", FORMATS)
def test_training_tokens_begin_with_the_prompt_that_is_scored(kind: str) -> None:
    chat = Chat(tiny.tokenizer(), kind)
    ids, labels = chat.encode_for_training(CONVERSATIONS["one turn"])
    prompt = chat.encode(chat.prompt(ASKED))
    assert ids[: len(prompt)] == prompt
    assert labels[: len(prompt)] == [IGNORED] * len(prompt)


#: An example, its answer, and a question
SHOWN = [turn("user", "1+1?\nA. 2\nAnswer:"), turn("assistant", "A"),
         turn("user", "2+2?\nA. 4\nAnswer:")]  # fmt: skip
FEW_SHOT = "1+1?\nA. 2\nAnswer: A\n\n2+2?\nA. 4\nAnswer:"


@pytest.mark.parametrize("made", [tiny.tokenizer, tiny.metaspace])
def test_text_as_it_is(made: Callable[..., PreTrainedTokenizerFast]) -> None:
    """The letter after a question is the token that answers the examples before it."""
    tokenizer = made(corpus=[*tiny.CORPUS, *[": A B C D"] * 9])
    chat = Chat(tokenizer, "none")
    assert (chat.prompt(SHOWN), chat.joint) == (FEW_SHOT, " ")
    ids = chat.encode(FEW_SHOT)
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id not in ids
    answered = chat.encode(f"{FEW_SHOT} A")
    assert answered[:-1] == ids
    assert answered[-1] in letter_ids(tokenizer, "A")[0]
    start = len(chat.encode(chat.prompt(SHOWN[:1])))
    assert ids[start] == answered[-1]
    assert ids[:start] == chat.encode(SHOWN[0]["content"])


def test_text_as_it_is_is_not_trained_on() -> None:
    chat = Chat(tiny.tokenizer(), "none")
    with pytest.raises(InputError, match="chat_format: found none, expected plain, tulu or templ"):
        chat.encode_for_training(CONVERSATIONS["one turn"])


def test_unfit_tokenizers_are_refused() -> None:
    bare = tiny.tokenizer(chat_template=None)
    Chat(bare, "plain")
    with pytest.raises(InputError, match="no chat template"):
        Chat(bare, "template")
    bare.eos_token = None
    with pytest.raises(InputError, match="end-of-sequence"):
        Chat(bare, "plain")
    fickle = "{% for m in messages %}{{ m.content }}{% endfor %}"
    fickle += "{% if messages|length == 1 %}?{% endif %}"
    with pytest.raises(InputError, match="changes a prompt"):
        Chat(tiny.tokenizer(fickle), "template")


@pytest.mark.parametrize(("count", "letters"), [(2, "A and B"), (4, "A, B, C and D")])
def test_prompts_name_the_letters_of_their_options(count: int, letters: str) -> None:
    options = [f"text {i}" for i in range(count)]
    text = fill("One of {letters}.\n{question}\n{options}", "why {letters}?", options)
    assert text.startswith(f"One of {letters}.\nwhy {{letters}}?\nA. text 0\nB. text 1")


def test_lettered_prompts_fill_braces_of_the_question_as_they_are() -> None:
    text = fill("{question}\n{options}\nAnswer:", "what is {options}?", ["{question}", "b"])
    assert text == "what is {options}?\nA. {question}\nB. b\nAnswer:"


def test_letters_are_found_in_every_form() -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.add_tokens(["ĠB", "▁B", "BC"])
    vocabulary = tokenizer.get_vocab()
    in_every_form = sorted(vocabulary[t] for t in ("B", "ĠB", "▁B"))
    assert letter_ids(tokenizer, "B") == [in_every_form]
    assert letter_ids(tokenizer, "AB")[1] == in_every_form
    with pytest.raises(InputError, match="no token for the letter 'Ж'"):
        letter_ids(tokenizer, "AЖ")


@pytest.mark.parametrize("kind", FORMATS)
def test_tokenizers_that_change_the_text_are_no_error(kind: str) -> None:
    """One lacks characters; one composes é of e and an accent."""
    lacking = tiny.metaspace()
    lacking.chat_template = tiny.TEMPLATE
    composing = tiny.tokenizer()
    composing.backend_tokenizer.normalizer = normalizers.NFC()
    for tokenizer, answer, learned in (
        (lacking, "a ツ b", "a<unk>b</s>"),
        (composing, "cafe\u0301", "caf\u00e9</s>"),
    ):
        chat = Chat(tokenizer, kind)
        _, labels = chat.encode_for_training([turn("user", answer), turn("assistant", answer)])
        found = str(tokenizer.decode([label for label in labels if label != IGNORED]))
        assert "".join(found.split()) == learned
