"""Which side of a topic a message asks for: papers, fee, time, place, on line, an agent, a child, who."""

from __future__ import annotations

import re
from pathlib import Path

from knowledge.entry import FACETS, KnowledgeError


class Facets:
    def __init__(self, patterns: list[tuple[str, re.Pattern[str]]]) -> None:
        self._patterns = patterns

    @classmethod
    def read(cls, path: Path) -> Facets:
        patterns = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            facet, _, pattern = line.partition(":")
            if facet not in FACETS:
                raise KnowledgeError(f"{path}:{number}: {facet!r} is no facet; use one of {', '.join(FACETS)}")
            try:
                patterns.append((facet, re.compile(pattern.strip())))
            except re.error as error:
                raise KnowledgeError(f"{path}:{number}: not a regular expression ({error})") from error
        return cls(patterns)

    def asked(self, text: str) -> str | None:
        """The facet a normalised message asks for; of several the last: people end on what they ask."""
        best: tuple[int, int, str] | None = None
        for rank, (facet, pattern) in enumerate(self._patterns):
            ends = [found.end() for found in pattern.finditer(text)]
            if ends and (best is None or (ends[-1], -rank) > best[:2]):
                best = (ends[-1], -rank, facet)
        return best[2] if best else None
