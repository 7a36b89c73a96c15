"""One knowledge entry: its fields, how it is read from YAML, and what is refused."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times faster where the wheel has it

NONE_FAMILY = "none"  # messages without a topic: small talk, adverts, what is beyond an officer's power
FACETS = ("bring", "fee", "time", "where", "online", "agent", "minor", "who")
ROUTES = ("answer", "officer", "dept")
TEXT_FIELDS = ("short", "who", "where", "online", "fee", "time", "agent", "minor", "watch", "call", "say")
LIST_FIELDS = ("card", "numbers", "bring", "trick", "now", "never", "evidence", "ask")
PHRASE_FIELDS = (
    "phrases",
    "phrases_pasted",
    "phrases_story",
    "phrases_verify",
    "phrases_letter",
    "phrases_title",
    "phrases_en",
)
_META_FIELDS = (
    "topic",
    "title",
    "route",
    "scope",
    "owner",
    "checked",
    "review_by",
    "sources",
    "department",
    "number",
    "cases",
    "english",
    "followups",
    "near_misses",
    "kind",
    "reply",
    "reply_en",
    "version",
    "notes",
)
_KNOWN_FIELDS = frozenset((*TEXT_FIELDS, *LIST_FIELDS, *PHRASE_FIELDS, *_META_FIELDS))
_TOPIC = re.compile(r"[a-z][a-z0-9]*\.[a-z][a-z0-9_]*\Z")


class KnowledgeError(ValueError):
    """Something in the knowledge is wrong; the message names the file, the field and the remedy."""


@dataclass(frozen=True, slots=True)
class Case:
    when: str
    then: str


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A short second message after this topic: it asks for a facet of it, or changes to another topic."""

    ask: str
    facet: str | None = None
    topic: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    rule: str
    article: str = ""
    in_force: str = ""
    confirmed: bool = True  # False: nobody has read the rule's own text beside the answer yet


@dataclass(frozen=True, slots=True)
class KnowledgeEntry:
    topic: str
    title: str
    route: str = "answer"
    scope: str = ""
    owner: str = ""
    checked: str = ""
    review_by: str = ""
    sources: tuple[Source, ...] = ()
    department: str = ""
    number: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cases: tuple[Case, ...] = ()
    english: Mapping[str, str | tuple[str, ...]] | None = None
    phrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by kind of phrase: phrases, phrases_en, …
    near_misses: tuple[tuple[str, str], ...] = ()  # emergencies: (text, topic or 'none')
    followups: tuple[FollowUp, ...] = ()
    kind: str = ""  # chat entries: smalltalk, thanks, …
    reply: str = ""
    reply_en: str = ""
    version: str = ""  # short fingerprint of the source
    written: bool = True  # False: known by name only, goes to the officer

    @property
    def short(self) -> str:
        return self.texts.get("short", "")

    @property
    def confirmed(self) -> bool:
        """Whether the rules the answer rests on have been read beside it."""
        return all(source.confirmed for source in self.sources)

    def all_phrases(self) -> Iterator[str]:
        for name in PHRASE_FIELDS:
            yield from self.phrases.get(name, ())


def fingerprint(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def read_yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_bytes(), Loader=_Loader)  # noqa: S506  (a safe loader, the C one where there is one)
    except yaml.YAMLError as error:
        raise KnowledgeError(f"{path}: not valid YAML ({error}); check the indent and the quotes there") from error


def read_entries_file(path: Path, known: Mapping[str, KnowledgeEntry] | None = None) -> list[KnowledgeEntry]:
    """The entries of one file: one topic, or in entries/none/ the kinds of messages that have no topic."""
    return _read_none(path) if path.parent.name == NONE_FAMILY else [read_entry(path, known)]


def _read_none(path: Path) -> list[KnowledgeEntry]:
    """`{reply, phrases}` of the kind that the file is named after, or several such under the names of their kinds.

    A kind with a reply (which may be empty: say nothing) is talk; one without is a question that nobody here answers.
    """
    data = read_yaml(path)
    if not isinstance(data, Mapping):
        raise KnowledgeError(f"{path}: must be a mapping with phrases, or of kinds to {{reply, phrases}}")
    kinds = {path.stem: data} if "phrases" in data else data
    version = fingerprint(path.read_bytes())
    entries = []
    for kind, item in kinds.items():
        if not isinstance(item, Mapping) or not _list(item, "phrases", str(path)):
            raise KnowledgeError(f"{path}: {kind} needs phrases (and a reply, if it gets one)")
        entries.append(
            KnowledgeEntry(
                topic=f"{NONE_FAMILY}.{kind}",
                title=_text(item, "title", str(path)) or str(kind),
                phrases={key: items for key in PHRASE_FIELDS if (items := _list(item, key, str(path)))},
                kind="talk" if "reply" in item else "outside",
                reply=_text(item, "reply", str(path)),
                reply_en=_text(item, "reply_en", str(path)),
                version=version,
            )
        )
    return entries


def read_entry(path: Path, known: Mapping[str, KnowledgeEntry] | None = None) -> KnowledgeEntry:
    """Read one entry file; `known` gives title, route and scope for topics that the shipped list names."""
    data = read_yaml(path)
    return entry_from_mapping(data, name=str(path), known=known, version=fingerprint(path.read_bytes()))


def entry_from_mapping(
    data: object, *, name: str, known: Mapping[str, KnowledgeEntry] | None = None, version: str = ""
) -> KnowledgeEntry:
    """Build an entry from what YAML or a spreadsheet row gave; `name` is the file (and row) for messages."""
    if not isinstance(data, Mapping):
        raise KnowledgeError(
            f"{name}: an entry is a mapping of fields (topic, title, short, phrases …); got {_kind(data)}"
        )
    unknown = [str(key) for key in data if key not in _KNOWN_FIELDS]
    if unknown:
        raise KnowledgeError(f"{name}: unknown field {', '.join(sorted(unknown))}; remove it or correct its spelling")
    topic = _text(data, "topic", name)
    if not _TOPIC.match(topic):
        raise KnowledgeError(
            f"{name}: topic {topic!r} must look like family.name in lower-case letters, e.g. idcard.lost"
        )
    base = (known or {}).get(topic)
    route = _text(data, "route", name) or (base.route if base else "answer")
    if route not in ROUTES:
        raise KnowledgeError(f"{name}: route {route!r} must be one of {', '.join(ROUTES)}")
    texts = {key: value for key in TEXT_FIELDS if (value := _text(data, key, name))} | (
        {} if "ask" not in data or isinstance(data["ask"], list) else {"ask": str(data["ask"]).strip()}
    )
    lists = {key: items for key in LIST_FIELDS if (items := _list(data, key, name))}
    return KnowledgeEntry(
        topic=topic,
        title=_text(data, "title", name) or (base.title if base else topic),
        route=route,
        scope=_text(data, "scope", name) or (base.scope if base else ""),
        owner=_text(data, "owner", name),
        checked=_text(data, "checked", name),
        review_by=_text(data, "review_by", name),
        sources=_sources(data.get("sources"), name),
        department=_text(data, "department", name),
        number=_text(data, "number", name),
        texts=texts,
        lists=lists,
        cases=_cases(data.get("cases"), name),
        english=_english(data.get("english"), name),
        phrases={key: items for key in PHRASE_FIELDS if (items := _list(data, key, name))},
        near_misses=_near_misses(data.get("near_misses"), name),
        followups=_followups(data.get("followups"), name),
        kind=_text(data, "kind", name),
        reply=_text(data, "reply", name),
        reply_en=_text(data, "reply_en", name),
        version=version or fingerprint(repr(sorted(map(str, data.items()))).encode()),
    )


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__


def _text(data: Mapping[Any, Any], key: str, name: str) -> str:
    value = data.get(key)
    if value is None:
        return ""
    if isinstance(value, (list, tuple, dict)):
        raise KnowledgeError(f"{name}: field {key} must be text, got {_kind(value)}; write it on one line or with '>-'")
    return str(value).strip()


def _list(data: Mapping[Any, Any], key: str, name: str) -> tuple[str, ...]:
    value = data.get(key)
    if value is None or (key == "ask" and isinstance(value, str)):
        return ()
    if isinstance(value, str):
        return (value.strip(),)
    if not isinstance(value, Sequence):
        raise KnowledgeError(f"{name}: field {key} must be a list of lines starting with '-', got {_kind(value)}")
    items = []
    for number, item in enumerate(value, 1):
        if item is None or isinstance(item, (list, tuple)):
            raise KnowledgeError(f"{name}: {key} line {number} must be text, got {_kind(item)}; put the line in quotes")
        if isinstance(item, Mapping):  # a line with ': ' inside, which YAML reads as a mapping
            raise KnowledgeError(
                f"{name}: {key} line {number} is read as 'key: value'; put the whole line in double quotes"
            )
        items.append(str(item).strip())
    return tuple(item for item in items if item)


def _sources(value: object, name: str) -> tuple[Source, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise KnowledgeError(f"{name}: sources must be a list of {{rule, article, in_force, confirmed}}")
    if any(item.get("confirmed", True) not in (True, False) for item in value):
        raise KnowledgeError(f"{name}: sources: confirmed must be true or false")
    return tuple(
        Source(
            str(item.get("rule", "")).strip(),
            str(item.get("article") or "").strip(),
            str(item.get("in_force") or "").strip(),
            bool(item.get("confirmed", True)),
        )
        for item in value
    )


def _cases(value: object, name: str) -> tuple[Case, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, Mapping) and "then" in item for item in value):
        raise KnowledgeError(f"{name}: cases must be a list of {{when, then}}")
    return tuple(Case(str(item.get("when", "")).strip(), str(item["then"]).strip()) for item in value)


def _followups(value: object, name: str) -> tuple[FollowUp, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise KnowledgeError(f"{name}: followups must be a list of {{ask, facet}} or {{ask, topic}}")
    result = []
    for number, item in enumerate(value, 1):
        if not isinstance(item, Mapping) or not item.get("ask"):
            raise KnowledgeError(f"{name}: followups line {number} needs ask and either facet or topic")
        facet, topic = item.get("facet"), item.get("topic")
        if facet is not None and facet not in FACETS:
            raise KnowledgeError(f"{name}: followups line {number}: facet {facet!r} must be one of {', '.join(FACETS)}")
        result.append(FollowUp(str(item["ask"]).strip(), facet, str(topic) if topic else None))
    return tuple(result)


def _near_misses(value: object, name: str) -> tuple[tuple[str, str], ...]:
    """Sentences that sound like an emergency and are not: plain text, or {text|ask, topic}."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise KnowledgeError(f"{name}: near_misses must be a list of sentences or of {{text, topic}}")
    result = []
    for item in value:
        if isinstance(item, Mapping):
            text = item.get("text") or item.get("ask") or item.get("phrase")
            if not text:
                raise KnowledgeError(f"{name}: a near_misses line without text; write {{text: …, topic: …}}")
            result.append((str(text).strip(), str(item.get("topic") or "none")))
        else:
            result.append((str(item).strip(), ""))
    return tuple(result)


def _english(value: object, name: str) -> Mapping[str, str | tuple[str, ...]] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise KnowledgeError(f"{name}: english must be a mapping with title, short, bring …")
    result: dict[str, str | tuple[str, ...]] = {}
    for key, item in value.items():
        if isinstance(item, list):
            result[str(key)] = tuple(str(line).strip() for line in item)
        elif item is not None:
            result[str(key)] = str(item).strip()
    return result


def read_topics(path: Path) -> dict[str, KnowledgeEntry]:
    """The fixed list of topics: an entry that is known by name only, for each."""
    data = read_yaml(path)
    if not isinstance(data, Mapping):
        raise KnowledgeError(f"{path}: must be a mapping of families to lists of {{id, route, scope}}")
    known: dict[str, KnowledgeEntry] = {}
    for family, rows in data.items():
        if not isinstance(rows, list):
            raise KnowledgeError(f"{path}: family {family} must be a list of {{id, route, scope}}")
        for row in rows:
            topic, scope = str(row["id"]), str(row.get("scope", ""))
            title = re.split(r"[、,,(;]", scope)[0][:14] or topic
            known[topic] = KnowledgeEntry(
                topic=topic, title=title, route=str(row.get("route", "officer")), scope=scope, written=False
            )
    return known
