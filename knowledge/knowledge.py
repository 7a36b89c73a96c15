"""The knowledge of a station: its entries, loaded and indexed, ready to match questions and to answer them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from knowledge.answer import MAX_CHARS, STATION_DEFAULTS, STATION_MEANINGS, fill, placeholders, render
from knowledge.archive import Archive, read_archive
from knowledge.entry import (
    NONE_FAMILY,
    KnowledgeEntry,
    KnowledgeError,
    fingerprint,
    read_entries_file,
    read_topics,
    read_yaml,
)
from knowledge.facets import Facets
from knowledge.features import Reader
from knowledge.followups import FollowUps
from knowledge.matching import Bands, Match, Matcher
from knowledge.nearest import Nearest
from knowledge.own import read_own
from knowledge.text import Normaliser, Segmenter, read_groups, read_pairs, read_repairs, read_sounds

ROOT = Path(__file__).resolve().parent
MODEL_FILE = Path("model/knowledge.zip")
_ANSWERS_KEPT = 256
_MATCHES_KEPT, _MOST_KEPT_CHARS = 1024, 40  # short ones come again; a long story never does, and need not be kept


def source_files(root: Path) -> list[Path]:
    """The files a model is built from; any change to one of them calls for a new build."""
    return sorted([root / "topics.yaml", *(root / "entries").glob("*/*.yaml"), *(root / "dictionary").glob("*.txt")])


def source_fingerprints(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): fingerprint(path.read_bytes()) for path in source_files(root)}


def make_reader(root: Path, words: Mapping[str, int]) -> Reader:
    folder = root / "dictionary"
    normalise = Normaliser(read_pairs(folder / "traditional.txt"), read_repairs(folder / "repairs.txt"))
    return Reader(
        normalise,
        Segmenter(words),
        read_groups(folder / "concepts.txt"),
        read_sounds(folder / "sounds.txt"),
        read_groups(folder / "english.txt"),
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """A text that differs from station to station: what it is about, and how it reads when nobody has set it."""

    meaning: str
    default: str


def read_declared(root: Path) -> dict[str, Setting]:
    """Every {station.…} and {local.…} that answers use, from settings/*.yaml."""
    declared = {name: Setting(STATION_MEANINGS[name], default) for name, default in STATION_DEFAULTS.items()}
    for path in sorted((root / "settings").glob("*.yaml")):
        data = read_yaml(path) or {}
        if not isinstance(data, Mapping):
            raise KnowledgeError(f"{path}: must be a mapping of local.NAME to {{meaning, default}}")
        for name, item in data.items():
            if not isinstance(item, Mapping) or not item.get("default"):
                raise KnowledgeError(f"{path}: {name} needs a meaning and a default text")
            declared[str(name)] = Setting(str(item.get("meaning") or "").strip(), str(item["default"]).strip())
    return declared


def read_settings(root: Path) -> dict[str, str]:
    """What each {station.…} and {local.…} reads as when a station has not set it."""
    return {name: setting.default for name, setting in read_declared(root).items()}


class Knowledge:
    """Load once, use from anywhere: every method is pure and quick."""

    def __init__(
        self,
        *,
        entries: Mapping[str, KnowledgeEntry],
        matcher: Matcher,
        reader: Reader,
        settings: Mapping[str, str],
        defaults: Mapping[str, str],
        stale: tuple[str, ...] = (),
        shipped: Mapping[str, KnowledgeEntry] | None = None,
        refused: tuple[str, ...] = (),
        declared: Mapping[str, Setting] | None = None,
    ) -> None:
        self.entries: Mapping[str, KnowledgeEntry] = MappingProxyType(dict(entries))
        self.shipped: Mapping[str, KnowledgeEntry] = MappingProxyType(dict(entries if shipped is None else shipped))
        self.refused = refused  # the station's own entries that could not be used, in sentences
        self.declared: Mapping[str, Setting] = MappingProxyType(dict(declared or {}))
        self.stale = stale  # source files that the model file does not know as they are: run make knowledge
        self._matcher = matcher
        self._reader = reader
        self._settings = dict(settings)
        self._defaults = dict(defaults)
        self._rendered = lru_cache(maxsize=_ANSWERS_KEPT)(self._render)  # most residents ask the same,
        self._matched = lru_cache(maxsize=_MATCHES_KEPT)(self._match)  # tap the same choices, say the same hello

    @classmethod
    def load(
        cls,
        root: Path | None = None,
        *,
        extra: Sequence[KnowledgeEntry] = (),
        own: Sequence[Mapping[str, object]] = (),
        settings: Mapping[str, str] | None = None,
    ) -> Knowledge:
        """The shipped entries with a station's own: `extra` replaces them, `own` lies over them field by field.

        `own` are mappings as in an entry's file; one with topic and phrases only adds ways of asking. `settings` are
        the station's {station.…} and {local.…} texts.
        """
        root = root or ROOT
        archive = read_archive(root / MODEL_FILE)
        current = source_fingerprints(root)
        stale = tuple(
            sorted(name for name in {*current, *archive.sources} if current.get(name) != archive.sources.get(name))
        )
        known = read_topics(root / "topics.yaml")
        entries = dict(known) | _current_entries(root, archive, stale, known)
        shipped = entries | {entry.topic: entry for entry in extra}
        entries, refused = read_own(own, shipped)
        reader = make_reader(root, archive.words)
        bands = _bands(archive)
        added = _added_phrases(archive, entries)
        nearest = Nearest(reader=reader, models=archive.models, phrases=added) if added else None
        followups = FollowUps(
            reader=reader,
            models=archive.models,
            entries=entries,
            weights=archive.bands,
            facet_sharpness=bands.facet_sharpness,
        )
        matcher = Matcher(
            reader=reader,
            models=archive.models,
            danger=archive.danger,
            facets=Facets.read(root / "dictionary" / "facets.txt"),
            followups=followups,
            nearest=nearest,
            entries=entries,
            bands=bands,
        )
        declared = read_declared(root)
        return cls(
            entries=entries,
            matcher=matcher,
            reader=reader,
            settings=settings or {},
            defaults={name: setting.default for name, setting in declared.items()},
            stale=stale,
            shipped=shipped,
            refused=refused,
            declared=declared,
        )

    def match(self, text: str, *, previous_topic: str | None = None) -> Match:
        match = self._matched if len(text) <= _MOST_KEPT_CHARS else self._match
        return match(text, previous_topic)

    def _match(self, text: str, previous_topic: str | None) -> Match:
        return self._matcher.match(text, previous_topic=previous_topic)

    def answer(
        self,
        topic: str,
        *,
        facet: str | None = None,
        language: str = "zh",
        settings: Mapping[str, str] | None = None,
        limit: int = MAX_CHARS,
    ) -> str:
        """The text for a topic: plain, at most `limit` characters and 2,000 bytes, no placeholder left."""
        return self._rendered(topic, facet, language, tuple((settings or {}).items()), limit)

    def _render(
        self, topic: str, facet: str | None, language: str, settings: tuple[tuple[str, str], ...], limit: int
    ) -> str:
        return render(
            self._entry(topic),
            facet=facet,
            language=language,
            settings=self._settings | dict(settings),
            defaults=self._defaults,
            limit=limit,
        )

    def settings_in(self, topic: str) -> frozenset[str]:
        """The {station.…} and {local.…} that the answer to a topic is filled in with."""
        return placeholders(self._entry(topic))

    def emergency_card(self, topic: str, language: str = "zh") -> str:
        return self.answer(topic, language=language)

    def words(self, text: str) -> list[str]:
        """Words for a search index: one script and width, long words also in their parts."""
        return self._reader.cut.for_search(self._reader.normalise.plain(text))

    def fill(self, text: str) -> str:
        return fill(text, self._settings, self._defaults)

    def _entry(self, topic: str) -> KnowledgeEntry:
        try:
            return self.entries[topic]
        except KeyError:
            raise KnowledgeError(
                f"no topic {topic!r}; knowledge/topics.yaml and the station's own entries name them all"
            ) from None


def _current_entries(
    root: Path, archive: Archive, stale: Sequence[str], known: Mapping[str, KnowledgeEntry]
) -> dict[str, KnowledgeEntry]:
    """Compiled entries, with those whose file changed since the build read anew."""
    entries = dict(archive.entries)
    for name in stale:
        family, _, rest = name.removeprefix("entries/").partition("/")
        if not name.startswith("entries/"):
            continue
        if family != NONE_FAMILY:
            entries.pop(f"{family}.{rest.removesuffix('.yaml')}", None)
        if (root / name).exists():
            entries |= {entry.topic: entry for entry in read_entries_file(root / name, known)}
    return entries


def _added_phrases(archive: Archive, entries: Mapping[str, KnowledgeEntry]) -> list[tuple[str, str]]:
    """(topic, phrase) for what was written or added after the build."""
    added = []
    for topic, entry in entries.items():
        built = archive.entries.get(topic)
        if built is not entry and not topic.startswith("emergency."):
            known = set(built.all_phrases()) if built else set()
            added += [(topic, phrase) for phrase in entry.all_phrases() if phrase not in known]
    return added


def _bands(archive: Archive) -> Bands:
    names = {item.name for item in dataclass_fields(Bands)}
    return replace(Bands(), **{name: value for name, value in archive.bands.items() if name in names})
