"""Warnings to start from, by kind of fraud; the words stand in warning_templates.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from bot.actions.audiences import Audience
from bot.actions.broadcasts import Draft, check_draft
from bot.actions.errors import ActionError
from bot.actions.residents import OCCUPATIONS

_FILE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True, slots=True)
class WarningTemplate:
    """A warning ready to be adapted: `who` says in words whom this fraud hits, `audience` says it in figures."""

    key: str
    kind: str
    topic: str
    title: str
    body: str
    who: str
    audience: Audience


def read_templates(path: Path = _FILE) -> dict[str, WarningTemplate]:
    """The templates of a file by their key; ValueError names the one that could not be sent as it stands."""
    templates: dict[str, WarningTemplate] = {}
    for raw in yaml.safe_load(path.read_text(encoding="utf-8")):
        template = _template(raw)
        if template.key in templates:
            raise ValueError(f"{path}: {template.key} is there twice")
        templates[template.key] = template
    return templates


def _template(raw: Mapping[str, Any]) -> WarningTemplate:
    audience = Audience.from_json(dict(raw["audience"]))
    unknown = sorted(set(audience.occupations) - set(OCCUPATIONS))
    if unknown:
        raise ValueError(f"{raw['key']}: residents cannot choose the occupation {unknown[0]}")
    fields = {name: str(raw[name]).strip() for name in ("key", "kind", "topic", "title", "body", "who")}
    template = WarningTemplate(**fields, audience=audience)
    try:
        check_draft(Draft(template.title, template.body, audience))
    except ActionError as error:
        raise ValueError(f"{template.key}: {error}") from error
    return template


TEMPLATES: Final[Mapping[str, WarningTemplate]] = read_templates()
