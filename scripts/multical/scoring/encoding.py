"""Turns questions into the tokens that a model on this machine is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from multical.models.chat import Chat
from multical.scoring.prompting import Part, conversation
from multical.scoring.trie import Asked


@dataclass(frozen=True)
class Asker:
    """Turns questions into the tokens that a model is shown."""

    chat: Chat

    def encode(self, part: Part, row: Any) -> Asked:
        """One question of a part, tokenised as the whole text that it makes."""
        lettered = None
        if part.lettered:
            lettered = self.chat.encode(self.text(part, row, "lettered"))
        if not part.plain:
            return Asked(lettered, [], [[]] * len(row.options))
        plain = self.text(part, row, "plain")
        options = [self.chat.encode(f"{plain}{self.chat.joint}{text}") for text in row.options]
        return Asked(lettered, self.chat.encode(plain), options)

    def text(self, part: Part, row: Any, kind: str) -> str:
        """The prompt, its examples before it."""
        return self.chat.prompt(conversation(part, row, kind))
