"""Turns questions into the tokens that a local model gets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from multical.models.chat import Chat
from multical.scoring.prompting import Kind, Part, conversation
from multical.scoring.tokenized import TokenizedQuestion, Tokens


@dataclass(frozen=True)
class Encoder:
    """Turns questions into tokens in a chat format.

    With `cyclic`, the multiple-choice prompt shows the options in each of their rotations, so that
    each stands once at each letter (Zheng et al. 2024: cyclic permutation). Few-shot examples keep
    their order.
    """

    chat: Chat
    cyclic: bool = False

    def encode(self, part: Part, row: Any) -> TokenizedQuestion:
        """Tokenise one question of a part, each time as one text with its prompt."""
        multiple_choice = None
        if part.multiple_choice:
            multiple_choice = self.chat.encode(self.text(part, row, "multiple_choice"))
        if not part.cloze:
            return TokenizedQuestion(multiple_choice, [], [[]] * len(row.options))
        return self._continued(self.text(part, row, "cloze"), row, multiple_choice)

    def forms(self, part: Part, row: Any) -> list[TokenizedQuestion]:
        """All that the model reads of a question: itself, then the rest as questions of their own.

        The order: the question, its rotations by 1, 2 and so on places, the unconditional text.
        """
        found = []
        if part.multiple_choice or part.cloze:
            found.append(self.encode(part, row))
        if part.multiple_choice and self.cyclic:
            letters_only = replace(part, cloze=False)
            for shift in range(1, len(row.options)):
                rotated = row._replace(options=[*row.options[shift:], *row.options[:shift]])
                found.append(self.encode(letters_only, rotated))
        if part.unconditional:
            found.append(self._continued(self.text(part, row, "unconditional"), row, None))
        return found

    def _continued(
        self, prompt: str, row: Any, multiple_choice: Tokens | None
    ) -> TokenizedQuestion:
        """A prompt without options, and the texts of the options after it."""
        options = [self.chat.encode(f"{prompt}{self.chat.joint}{text}") for text in row.options]
        return TokenizedQuestion(multiple_choice, self.chat.encode(prompt), options)

    def text(self, part: Part, row: Any, kind: Kind) -> str:
        """The prompt of a question, preceded by its examples."""
        return self.chat.prompt(conversation(part, row, kind))
