"""What content must be before it is shipped; a fault names file, field and remedy."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from knowledge.answer import (
    MAX_BYTES,
    MAX_CHARS,
    PLACEHOLDER,
    STATION_DEFAULTS,
    STATION_DEFAULTS_EN,
    fill,
    fits,
    full_text,
)
from knowledge.archive import read_archive
from knowledge.entry import NONE_FAMILY, KnowledgeEntry, KnowledgeError, read_entries_file, read_topics
from knowledge.evaluation import read_questions
from knowledge.knowledge import MODEL_FILE, ROOT, read_settings, source_fingerprints
from knowledge.text import PUBLIC_NUMBERS, Normaliser, read_pairs, read_repairs

_LEAST_PHRASES = 40
_LEAST_ENGLISH = 25
_TITLE_CHARS = range(2, 19)
# Foreigners need these: an English answer and enough English phrases are required.
ENGLISH_TOPICS = frozenset(
    """
    permit.foreigner_lodging permit.apply exit.foreigner_visa exit.passport_lost exit.border_zone
    fraud.verify fraud.impersonate_police fraud.romance fraud.investment fraud.brushing fraud.parcel_scan fraud.shopping
    fraud.after_scam fraud.card_frozen dispute.noise dispute.rent dispute.wage dispute.consumer
    case.report case.theft case.harassment case.assault admin.lost_found admin.hotel admin.drone admin.no_crime_cert
    traffic.accident traffic.licence_apply traffic.ebike traffic.violation station.hours station.my_officer
    hukou.newborn hukou.marriage_join idcard.lost dept.marriage dept.school dept.health
""".split()
)
_CURLY = re.compile(r"\{[^{}]*\}?|\}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
# What looks like a telephone number: short service numbers not followed by a unit, and long ones.
_SHORT_NUMBER = re.compile(
    r"(?<![\d.\-/第年月-])(1[12]\d|12\d{3}|9[56]\d{3}|100\d{2}|12110)(?![\d.%]|\s*[元日天时个平米公周年条岁次分号款名人部厘毫克小多余]|cc)"
)
_LONG_NUMBER = re.compile(r"(?<!\d)(?:400-?\d{3}-?\d{4}|0\d{2,3}-?\d{7,8}|1[3-9]\d{9})(?!\d)")
_NEAR = 0.8  # share of common pairs of characters from which a phrase counts as a copy of a labelled question


@dataclass(frozen=True, slots=True)
class Fault:
    where: str
    field: str
    says: str

    def __str__(self) -> str:
        return f"{self.where}: {self.field}: {self.says}"


def check(
    root: Path = ROOT, *, today: date | None = None, against: Sequence[Path] = (), model: bool = True
) -> list[Fault]:
    """All faults of the content under `root`; an empty list when it may be shipped."""
    known = read_topics(root / "topics.yaml")
    try:
        defaults = read_settings(root)
    except KnowledgeError as error:
        return [Fault("settings", "default", str(error))]
    faults: list[Fault] = []
    entries: dict[str, KnowledgeEntry] = {}
    for path in sorted((root / "entries").glob("*/*.yaml")):
        name = path.relative_to(root).as_posix()
        try:
            found = read_entries_file(path, known)
        except KnowledgeError as error:
            faults.append(Fault(name, "entry", str(error).removeprefix(f"{path}: ")))
            continue
        for entry in found:
            expected = f"{path.parent.name}.{path.stem}"
            if entry.topic != expected and path.parent.name != NONE_FAMILY:
                says = f"is {entry.topic}, the file's place says {expected}; rename one of them"
                faults.append(Fault(name, "topic", says))
            entries[entry.topic] = entry
            faults += [Fault(name, field, says) for field, says in check_entry(entry, known, defaults, today)]
    faults += [
        Fault("topics.yaml", topic, f"no entry yet; write entries/{topic.replace('.', '/')}.yaml")
        for topic in known
        if topic not in entries
    ]
    faults += _settings_faults(defaults)
    faults += _double_phrases(root, entries.values())
    for path in against:
        faults += _copies(path, entries.values())
    if model:
        faults += _stale_model(root)
    return faults


def check_entry(
    entry: KnowledgeEntry, known: Mapping[str, KnowledgeEntry], defaults: Mapping[str, str], today: date | None = None
) -> Iterator[tuple[str, str]]:
    """(field, fault with its remedy) for one entry; used for a station's own entries as well."""
    family = entry.topic.partition(".")[0]
    yield from _text_faults(entry, defaults)
    if family == "none":
        return
    if len(entry.title) not in _TITLE_CHARS:
        yield "title", f"{entry.title!r} has {len(entry.title)} characters; use 2 to 18"
    if family == "emergency":
        if not entry.lists.get("card"):
            yield "card", "missing; write the lines that are sent at once"
    elif not entry.short:
        yield "short", "missing; write the answer itself in one or two sentences"
    yield from _date_faults(entry, today)
    if family == "emergency":
        return
    if not entry.owner:
        yield "owner", "missing; name the desk that answers for the text"
    if not entry.sources:
        yield "sources", "missing; name the law or rule, its article and since when it is in force"
    for number, source in enumerate(entry.sources, 1):
        if not source.rule or not _DATE.match(source.in_force):
            yield "sources", f"number {number} needs rule and in_force as YYYY-MM-DD"
    if entry.route == "dept":
        if not entry.department or not entry.number:
            yield "department", "a department topic needs department and number"
        elif not all(number in PUBLIC_NUMBERS for number in re.findall(r"\d+", entry.number)):
            yield "number", f"{entry.number} is not in the list of known numbers (PUBLIC_NUMBERS in knowledge/text.py)"
    for followup in entry.followups:
        if (
            followup.topic
            and followup.topic not in known
            and followup.topic.partition(".")[0] not in ("emergency", "none")
        ):
            yield "followups", f"{followup.ask!r} leads to {followup.topic}, which is no topic"
    count = sum(len(lines) for name, lines in entry.phrases.items() if name != "phrases_en")
    if entry.topic in known and count < _LEAST_PHRASES:
        yield "phrases", f"{count} phrases; at least {_LEAST_PHRASES} are needed"
    if entry.topic in ENGLISH_TOPICS:
        if not (entry.english or {}).get("short"):
            yield "english", "this topic needs an English answer (english: {title, short, …})"
        if len(entry.phrases.get("phrases_en", ())) < _LEAST_ENGLISH:
            yield (
                "phrases_en",
                f"{len(entry.phrases.get('phrases_en', ()))} English phrases; at least {_LEAST_ENGLISH} are needed",
            )


def _date_faults(entry: KnowledgeEntry, today: date | None) -> Iterator[tuple[str, str]]:
    for name, value in (("checked", entry.checked), ("review_by", entry.review_by)):
        if not _DATE.match(value):
            yield (
                name,
                "missing or not a date; write YYYY-MM-DD" if not value else f"{value!r} is no date; write YYYY-MM-DD",
            )
    if _DATE.match(entry.checked) and _DATE.match(entry.review_by):
        if entry.review_by <= entry.checked:
            yield "review_by", "must be later than checked"
        if today and entry.review_by < today.isoformat():
            yield "review_by", f"was {entry.review_by}; check the rules again and set both dates anew"


def _texts(entry: KnowledgeEntry) -> Iterator[tuple[str, str]]:
    yield "title", entry.title
    yield from entry.texts.items()
    for name, lines in entry.lists.items():
        yield from ((name, line) for line in lines)
    for case in entry.cases:
        yield "cases", case.when
        yield "cases", case.then
    yield "reply", entry.reply
    yield "reply_en", entry.reply_en
    for name, value in (entry.english or {}).items():
        yield f"english.{name}", value if isinstance(value, str) else "; ".join(value)


def _text_faults(entry: KnowledgeEntry, defaults: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, text in _texts(entry):
        for found in _CURLY.findall(text):
            placeholder = PLACEHOLDER.fullmatch(found)
            if placeholder is None:
                yield name, f"broken placeholder {found!r}; write {{station.NAME}} or {{local.NAME}}"
            elif placeholder[1] not in defaults:
                yield name, f"{found} is not declared; add it with meaning and default to knowledge/settings/"
            elif name.startswith("english.") and placeholder[1] not in STATION_DEFAULTS_EN:
                yield name, f"{found} has Chinese words only; an English text may hold {{station.NAME}} alone"
        for number in _phone_numbers(text):
            yield (
                name,
                f"{number} is not in the list of known numbers (PUBLIC_NUMBERS in knowledge/text.py); use a setting",
            )
    if entry.topic.startswith("none."):
        return
    for language in ("zh", "en") if entry.english else ("zh",):
        text = full_text(entry, language=language, settings={}, defaults=defaults)
        if not fits(text):
            yield (
                "short" if language == "zh" else "english",
                (
                    f"the whole answer has {len(text)} characters and {len(text.encode())} bytes; "
                    f"shorten it to {MAX_CHARS} characters and {MAX_BYTES} bytes"
                ),
            )


def _phone_numbers(text: str) -> Iterable[str]:
    yield from (number for number in _SHORT_NUMBER.findall(text) if number not in PUBLIC_NUMBERS)
    yield from _LONG_NUMBER.findall(text)


def _settings_faults(defaults: Mapping[str, str]) -> Iterator[Fault]:
    for name, text in defaults.items():
        for number in _phone_numbers(text):
            yield Fault(
                "settings", name, f"{number} is not in the list of known numbers (PUBLIC_NUMBERS in knowledge/text.py)"
            )
        if _CURLY.search(fill(text, {}, STATION_DEFAULTS)):
            yield Fault("settings", name, "a default may hold {station.NAME} only; write its text out")


def _double_phrases(root: Path, entries: Iterable[KnowledgeEntry]) -> Iterator[Fault]:
    folder = root / "dictionary"
    normalise = Normaliser(read_pairs(folder / "traditional.txt"), read_repairs(folder / "repairs.txt"))
    seen: dict[str, str] = {}
    for entry in entries:
        for phrase in entry.all_phrases():
            key = re.sub(r"\W", "", normalise(phrase))
            first = seen.setdefault(key, entry.topic)
            if key and first != entry.topic:
                yield Fault(entry.topic, "phrases", f"{phrase!r} stands under {first} too; keep it under one topic")


def _copies(path: Path, entries: Iterable[KnowledgeEntry]) -> Iterator[Fault]:
    """Labelled questions measure; a phrase copied from them would measure nothing."""
    questions = [text for row in read_questions(path) for text in (row.text, row.second) if text and len(text) > 6]
    pairs = [(text, _pairs(text)) for text in questions]
    holders: dict[str, list[int]] = {}
    for number, (_, own) in enumerate(pairs):
        for pair in own:
            holders.setdefault(pair, []).append(number)
    for entry in entries:
        for phrase in (*entry.all_phrases(), *(text for text, _ in entry.near_misses)):
            own = _pairs(phrase)
            # Who shares enough of all pairs shares one of the rarest, too.
            rarest = sorted(own, key=lambda pair: len(holders.get(pair, ())))[
                : len(own) - math.ceil(_NEAR * len(own)) + 1
            ]
            for number in sorted({number for pair in rarest for number in holders.get(pair, ())}):
                if len(own & pairs[number][1]) >= _NEAR * len(own | pairs[number][1]):
                    yield Fault(
                        entry.topic,
                        "phrases",
                        f"{phrase!r} is nearly the labelled question {pairs[number][0]!r} of {path.name}; "
                        "write another",
                    )


def _pairs(text: str) -> frozenset[str]:
    plain = re.sub(r"\W", "", text.lower())
    return frozenset(plain[at : at + 2] for at in range(len(plain) - 1))


def _stale_model(root: Path) -> list[Fault]:
    try:
        archive = read_archive(root / MODEL_FILE)
    except KnowledgeError as error:
        return [Fault(MODEL_FILE.as_posix(), "model", str(error))]
    current = source_fingerprints(root)
    changed = sorted(name for name in {*current, *archive.sources} if current.get(name) != archive.sources.get(name))
    if not changed:
        return []
    shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
    return [Fault(MODEL_FILE.as_posix(), "model", f"built from other sources ({shown} changed); run make knowledge")]
