"""Turns questions into the tokens that a local model gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from multical.models.chat import Chat
from multical.scoring.prompting import Kind, Part, conversation
from multical.scoring.tokenized import TokenizedQuestion


@dataclass(frozen=True)
class Encoder:
    """Turns questions into tokens in a chat format."""

    chat: Chat

    def encode(self, part: Part, row: Any) -> TokenizedQuestion:
        """Tokenise one question of a part, each time as one text with its prompt."""
        multiple_choice = None
        if part.multiple_choice:
            multiple_choice = self.chat.encode(self.text(part, row, "multiple_choice"))
        if not part.cloze:
            return TokenizedQuestion(multiple_choice, [], [[]] * len(row.options))
        cloze = self.text(part, row, "cloze")
        options = [self.chat.encode(f"{cloze}{self.chat.joint}{text}") for text in row.options]
        return TokenizedQuestion(multiple_choice, self.chat.encode(cloze), options)

    def text(self, part: Part, row: Any, kind: Kind) -> str:
        """The prompt of a question, preceded by its examples."""
        return self.chat.prompt(conversation(part, row, kind))
