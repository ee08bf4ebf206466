"""Draw paper 2's prompts: each phrasing, filled with a question of the study's first data set.

The question is the one with the smallest id. The wording is our own, with the paper's structure:
the allowed letters, the lettered options, and the word before the letter of the answer. The figure
shows the text without the marks of a model's chat format.
"""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names

from multical.data import questions
from multical.errors import InputError, program
from multical.figures import style
from multical.figures.params import PromptsFigure, PromptText
from multical.models import chat

#: Characters in a line, and the height of a line in points
COLUMNS, LINE = 104, 10.5
#: The fonts of matplotlib itself, and those for scripts that they lack, where a machine has them
OWN_FONTS = ("DejaVu Sans Mono", "DejaVu Sans")
OTHER_FONTS = (
    "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Bengali",
    "Noto Sans Gujarati", "Noto Sans Gurmukhi", "Noto Sans Kannada", "Noto Sans Malayalam",
    "Noto Sans Sinhala", "Noto Sans Tamil", "Noto Sans Telugu", "Noto Sans Thai",
    "Noto Sans Khmer", "Noto Sans Lao", "Noto Sans Myanmar", "Noto Sans Ethiopic",
    "Noto Sans CJK JP", "Noto Sans SC", "PingFang SC", "Microsoft YaHei",
)  # fmt: skip


def main() -> None:
    args = style.arguments(__doc__, PromptsFigure, "questions")
    question = first_question(args.questions, args.params.language)
    texts = {prompt.name: filled(prompt, question) for prompt in args.params.prompts}
    style.finish(panels(texts), args)


def first_question(path: str, language: str) -> pd.Series:
    """The question with the smallest id in a language."""
    rows = questions.read(path)
    rows = rows[rows["language"] == language]
    if rows.empty:
        raise InputError(f"{path}: no question in {language}, expected at least one")
    return rows.sort_values("question_id").iloc[0]


def filled(prompt: PromptText, question: pd.Series) -> str:
    """A prompt that is filled with a question, with headings in the question's language."""
    headings = {name: texts[question["language"]] for name, texts in prompt.headings.items()}
    return chat.fill(prompt.multiple_choice, question["question"], question["options"], headings)


def panels(texts: dict[str, str]) -> Figure:
    """A panel for each prompt, one below the other, as high as its text."""
    wrapped = [wrap(text) for text in texts.values()]
    heights = [text.count("\n") + 3 for text in wrapped]  # plus the title
    figure, axes = style.subplots(
        len(texts), 1, figsize=(style.WIDTH, LINE * sum(heights) / 72), height_ratios=heights,
        squeeze=False,
    )  # fmt: skip
    for ax, name, text in zip(axes[:, 0], texts, wrapped, strict=True):
        ax.set_title(f"Prompt {name}", loc="left")
        ax.set(xticks=[], yticks=[])
        ax.spines[["top", "right"]].set_visible(True)
        written = ax.annotate(
            text, (0, 1), xycoords="axes fraction", xytext=(5, -5), va="top",
            textcoords="offset points", family=fonts(), fontsize=7.5, parse_math=False,
        )  # fmt: skip
        written.set_in_layout(False)  # the frame is as wide as the page, and holds the text
    return figure


def fonts() -> list[str]:
    """The fonts for a text in any script, of those that there are."""
    known = set(get_font_names())
    return [*OWN_FONTS, *(name for name in OTHER_FONTS if name in known)]


def wrap(text: str) -> str:
    """Wrap each line of a text."""
    lines = (textwrap.wrap(line, COLUMNS) or [""] for line in text.splitlines())
    return "\n".join(part for line in lines for part in line)


if __name__ == "__main__":
    program(main)
