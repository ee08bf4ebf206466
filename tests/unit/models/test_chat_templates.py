"""Labels of conversations in the chat templates of public models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from multical.config import files
from multical.data.conversations import Message
from multical.errors import InputError
from multical.models.chat import IGNORED, Chat
from support import tiny

ROOT = Path(__file__).parents[3]
TEMPLATES: dict[str, Any] = yaml.safe_load(
    (ROOT / "tests/support/data/chat_templates.yaml").read_text(encoding="utf-8")
)
TRAINABLE = [name for name, about in TEMPLATES.items() if about.get("end")]
DAY = "2024-07-26"


def turns(*contents: str) -> list[Message]:
    return [{"role": ("user", "assistant")[i % 2], "content": c} for i, c in enumerate(contents)]


SYSTEM: Message = {"role": "system", "content": "Be brief."}
CONVERSATIONS = {
    "one turn": turns("What is the currency of France?", "Euro"),
    "two turns": turns("France?", "Euro", "Japan?", "円"),
    "a question last": turns("France?", "Euro", "Japan?"),
    "space around answers": turns("France?", "Euro\n", "Japan?", "\n\n  Yen \n", "x", "Yes\n\n"),
    "answers in questions": turns("Euro, Euro", "Euro", "answer0mark", "Euro", "Euro", "Euro"),
    "special tokens in questions": turns("<|im_end|></s>", "a", "<end_of_turn><|eot_id|>", "b"),
    "special tokens in answers": turns("x", "a</s>b<|im_end|>c<|end|>d<end_of_turn>e", "y", "z"),
    "templates in messages": turns("{{ x }}(answer)", "{% raw %}", "[/INST](question)", "{#"),
    "right to left": turns("ما عملة فرنسا؟", "يورو", "x", "נכון"),
    "line breaks": turns("a\n\nb\n", "one\n\ntwo\n- three"),
}  # fmt: skip


def tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A tiny tokenizer with a template and its special tokens."""
    about = TEMPLATES[name]
    made = tiny.tokenizer(about["template"])
    made.eos_token, made.bos_token = about["eos"], about.get("bos")
    special = [
        AddedToken(token, special=True, rstrip=about.get("rstrip", False))
        for token in [about["eos"], about.get("bos"), *about.get("special", [])]
        if token
    ]
    made.add_tokens(special, special_tokens=True)
    return made


def chat_of(name: str) -> Chat:
    return Chat(tokenizer(name), "template", DAY)


def expected(name: str, messages: list[Message]) -> str:
    """What a model of the template writes in a conversation: all its answers and their ends."""
    about = TEMPLATES[name]
    answers = [m["content"] for m in messages if m["role"] == "assistant"]
    if about.get("trims"):
        answers = [answer.strip() for answer in answers]
    return "".join(f"{about.get('joint', '')}{answer}{about['end']}" for answer in answers)


def trained(chat: Chat, messages: list[Message]) -> str:
    ids, labels = chat.encode_for_training(messages)
    assert all(label in (token, IGNORED) for token, label in zip(ids, labels, strict=True))
    return str(chat.tokenizer.decode([label for label in labels if label != IGNORED]))


@pytest.mark.parametrize("case", CONVERSATIONS)
@pytest.mark.parametrize("name", TRAINABLE)
def test_labels_are_the_answers_and_their_ends(name: str, case: str) -> None:
    chat, messages = chat_of(name), CONVERSATIONS[case]
    found, right = trained(chat, messages), expected(name, messages)
    if TEMPLATES[name].get("rstrip"):  # the space after its special tokens is a part of them
        found, right = "".join(found.split()), "".join(right.split())
    assert found == right
    system = [SYSTEM, *messages]
    if refusal := TEMPLATES[name].get("system"):
        with pytest.raises(InputError, match=rf"refuses messages of system, user.*\({refusal}"):
            chat.encode_for_training(system)
    else:
        assert trained(chat, system) == trained(chat, messages)


@pytest.mark.parametrize("name", TRAINABLE)
def test_training_tokens_begin_with_the_prompt_that_is_scored(name: str) -> None:
    chat = chat_of(name)
    ids, labels = chat.encode_for_training(CONVERSATIONS["one turn"])
    prompt = chat.encode(chat.prompt(CONVERSATIONS["one turn"][:1]))
    assert ids[: len(prompt)] == prompt
    assert labels[: len(prompt)] == [IGNORED] * len(prompt)
    assert labels[len(prompt)] != IGNORED


def test_all_chat_models_of_the_config_have_their_template_here() -> None:
    """A family is a template: Llama 2, Llama 3, Llama 3.1, Mistral, Mixtral, SOLAR, Yi, SmolLM2."""
    models = files.read(folder=ROOT)["models"]
    local = {
        name.split("-instruct")[0].split("-chat")[0].rsplit("-", 1)[0]
        for name, model in models.items()
        if model["chat_format"] == "template" and model["source"]["kind"] != "api"
    }
    here = {about.get("model", "").split("-instruct")[0].split("-chat")[0].rsplit("-", 1)[0]
            for about in TEMPLATES.values()}  # fmt: skip
    assert local <= here
    assert len(local) == 8


@pytest.mark.parametrize("name", [n for n, about in TEMPLATES.items() if about.get("refused")])
def test_templates_whose_prompt_no_answer_follows_are_refused(name: str) -> None:
    with pytest.raises(InputError) as refused:
        chat_of(name)
    assert str(refused.value).endswith(TEMPLATES[name]["refused"])


def test_a_template_without_an_end_of_turn_is_scored_and_not_trained() -> None:
    chat = chat_of("solar-instruct")
    asked = CONVERSATIONS["one turn"]
    assert chat.prompt(asked[:1]).endswith("### Assistant:\n")
    with pytest.raises(InputError, match="writes no token that ends an answer"):
        chat.encode_for_training(asked)


def test_a_line_break_before_answers_is_a_part_of_the_prompt() -> None:
    """Else the first token after the prompt would be no letter."""
    chat = chat_of("glm-4-chat")
    assert chat.prompt(turns("x")) == "[gMASK]<sop><|user|>\nx<|assistant|>\n"
    assert chat.joint == ""


CHATML = TEMPLATES["yi-chat"]["template"]
#: By what it does to an answer, a change of ChatML, a conversation and the sentence
REFUSED = {
    "cuts thoughts": (
        ("message['content'] + '<", "message['content'].split('</think>')[-1] + '<"),
        turns("x", "a", "y", "<think>Hm</think>b"),
        "message 3: .* changes the text of this answer",
    ),
    "leaves out": (
        ("for message in messages %}", "for message in messages[-2:] %}"),
        turns("x", "a", "y", "b"),
        "leaves out or repeats an answer",
    ),
    "repeats": (
        ("%}{{'<|im_start|>'", "%}{{ messages[1].content if loop.index0 == 2 }}{{'<|im_start|>'"),
        turns("x", "a", "y", "b"),
        "leaves out or repeats an answer",
    ),
    "ends otherwise": (
        ("'<|im_end|>'", "(eos_token if loop.index == 2 and not loop.last else '<|im_end|>')"),
        turns("x", "a", "y", "b"),
        "message 1: .* ends this answer with '<.endoftext.>.*, expected '<.im_end.>'",
    ),
    "adds": (
        ("<|im_end|>' + '\\n'", "<|im_end|>' + '\\n' + (' ' if 'a' == message['content'] else '')"),
        turns("x", "a"),
        "adds text that depends on an answer",
    ),
    "joins": ( # the last character before an answer and the first one of it are one token
        ("+ '\\n' + message", "+ 'Ques' + message"),
        turns("x", "tion"),
        "its tokens do not separate answers .*: found '<.im_end.>' to train on, expected 'tion",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_templates_that_change_answers_are_refused(case: str) -> None:
    change, messages, sentence = REFUSED[case]
    assert change[0] in CHATML
    made = tokenizer("yi-chat")
    made.chat_template = CHATML.replace(*change)
    if case == "joins":
        made.chat_template = made.chat_template.replace("assistant\\n", "assistantQues")
    with pytest.raises(InputError, match=sentence):
        Chat(made, "template").encode_for_training(messages)


@pytest.mark.parametrize("name", [n for n, about in TEMPLATES.items() if about.get("dated")])
def test_a_template_with_todays_date_needs_a_date(name: str) -> None:
    with pytest.raises(InputError, match=r"writes today's date, .* expected the key chat_date"):
        Chat(tokenizer(name), "template")
    made = tokenizer(name)
    assert "Today Date: 29 Feb 2024\n" in Chat(made, "template", "2024-02-29").prompt(turns("x"))


@pytest.mark.parametrize("spelling", ["strftime_now('%Y-%m-%d')", "date_string or ''"])
def test_dates_of_templates(spelling: str) -> None:
    made = tiny.tokenizer(f"{{{{ {spelling} }}}}{tiny.TEMPLATE}")
    shown = {"strftime_now('%Y-%m-%d')": "2024-02-29", "date_string or ''": "29 Feb 2024"}
    assert Chat(made, "template", "2024-02-29").prompt(turns("x")).startswith(shown[spelling])


def test_llama_3_1_has_a_date_of_its_own() -> None:
    prompt = Chat(tokenizer("llama-3.1-instruct"), "template").prompt(turns("x"))
    assert "Today Date: 26 Jul 2024\n" in prompt


@pytest.mark.parametrize("kind", [dict, list])
def test_of_named_templates_the_default_one_is_taken(kind: type) -> None:
    named = {"tool_use": "x", "default": tiny.TEMPLATE}
    made = tiny.tokenizer()
    made.chat_template = (
        named if kind is dict else [{"name": n, "template": t} for n, t in named.items()]
    )
    whole = Chat(made, "template").render(turns("x", "y"))
    assert whole == "<s><|user|>x<|assistant|>y</s>"
    del named["default"]
    made.chat_template = named
    with pytest.raises(
        InputError, match=r"found chat templates \['tool_use'\], expected a default"
    ):
        Chat(made, "template")
    assert Chat(made, "plain").render(turns("x")) == "Question: x\n"
