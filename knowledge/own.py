"""What a station says itself, laid over the shipped entry of the same topic field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from knowledge.entry import KnowledgeEntry, KnowledgeError, entry_from_mapping


def read_own(
    own: Sequence[Mapping[str, object]], shipped: Mapping[str, KnowledgeEntry]
) -> tuple[dict[str, KnowledgeEntry], tuple[str, ...]]:
    """The entries with the station's own over them, and what had to be left out (a shipped topic may have gone)."""
    entries, refused = dict(shipped), []
    for data in own:
        try:
            entry = entry_from_mapping(data, name=str(data.get("topic")), known=shipped)
        except KnowledgeError as error:
            refused.append(str(error))
            continue
        base = entries.get(entry.topic)
        if base is None and not entry.short:
            refused.append(f"{entry.topic}: has no answer, and there is no shipped entry of that name")
        else:
            entries[entry.topic] = entry if base is None else laid_over(base, entry)
    return entries, tuple(refused)


def laid_over(base: KnowledgeEntry, own: KnowledgeEntry) -> KnowledgeEntry:
    """Fields that the station filled in replace the shipped ones; its phrases and follow-ups are added to them.

    Who dates a text of his own has read what it rests on.
    """
    phrases = {
        name: (*base.phrases.get(name, ()), *own.phrases.get(name, ())) for name in {**base.phrases, **own.phrases}
    }
    return replace(
        base,
        title=own.title,
        route=own.route,
        owner=own.owner or base.owner,
        checked=own.checked or base.checked,
        review_by=own.review_by or base.review_by,
        sources=own.sources
        or (tuple(replace(source, confirmed=True) for source in base.sources) if own.checked else base.sources),
        department=own.department or base.department,
        number=own.number or base.number,
        texts={**base.texts, **own.texts},
        lists={**base.lists, **own.lists},
        cases=own.cases or base.cases,
        english={**(base.english or {}), **own.english} if own.english else base.english,
        phrases={name: tuple(dict.fromkeys(lines)) for name, lines in phrases.items()},
        followups=(*base.followups, *own.followups),
        version=f"{base.version}+{own.version}",
        written=base.written or bool(own.short),
    )
