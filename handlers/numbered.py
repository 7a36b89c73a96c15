"""A bare number after numbered choices means the choice: some platforms can only write them as a list."""

from dataclasses import replace

from bot.router import Context

_AROUND = "。.、 "


def in_words(context: Context) -> Context:
    """The context as if the resident had tapped the choice whose number he wrote."""
    choices: list[str] = context.dialogue.get("choices", [])
    said = context.text.strip(_AROUND)
    if len(said) != 1 or not said.isdecimal() or not 0 < int(said) <= len(choices):
        return context
    return replace(context, message=replace(context.message, text=choices[int(said) - 1]))
