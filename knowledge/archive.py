"""The shipped model file: one deterministic zip with the compiled entries, the words and the weights."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from knowledge.entry import Case, FollowUp, KnowledgeEntry, KnowledgeError, Source
from knowledge.model import Floats, Models

FORMAT = 4
_STAMP = (1980, 1, 1, 0, 0, 0)  # zip's earliest date: the same sources give the same bytes


@dataclass(frozen=True, slots=True)
class Archive:
    """What a build made, and from what: `sources` maps each source file to its fingerprint."""

    sources: Mapping[str, str]
    bands: Mapping[str, float]
    entries: Mapping[str, KnowledgeEntry]
    words: Mapping[str, int]
    models: Models
    danger: Floats | None = None  # how the signs of danger count


def write_archive(path: Path, archive: Archive) -> None:
    files: dict[str, bytes] = {
        "meta.json": _json(
            {
                "format": FORMAT,
                "sources": dict(sorted(archive.sources.items())),
                "bands": dict(sorted(archive.bands.items())),
            }
        ),
        "entries.json": _json([asdict(archive.entries[topic]) for topic in sorted(archive.entries)]),
        "words.txt": "".join(f"{word} {count}\n" for word, count in sorted(archive.words.items())).encode(),
    }
    files |= _pack(archive.models)
    if archive.danger is not None:
        files["danger.npy"] = _array(archive.danger)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with zipfile.ZipFile(unfinished, "w") as bundle:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(name, _STAMP)
            info.compress_type = zipfile.ZIP_LZMA  # a fifth smaller than deflated, for 0.15 s more at the start
            info.external_attr = 0o644 << 16
            bundle.writestr(info, data)
    unfinished.replace(path)  # whoever loads it meanwhile has the old one whole


def read_archive(path: Path) -> Archive:
    """One part at a time, so that no more than its largest part lies in memory twice."""
    try:
        with zipfile.ZipFile(path) as bundle:
            meta = json.loads(bundle.read("meta.json"))
            if meta.get("format") != FORMAT:
                raise KnowledgeError(
                    f"{path}: the model file has format {meta.get('format')}, this program reads {FORMAT}; "
                    "run make knowledge"
                )
            entries = map(_entry, json.loads(bundle.read("entries.json")))
            return Archive(
                meta["sources"],
                meta["bands"],
                {entry.topic: entry for entry in entries},
                _words(bundle.read("words.txt")),
                _unpack(bundle),
                _load(bundle.read("danger.npy")) if "danger.npy" in bundle.namelist() else None,
            )
    except FileNotFoundError as error:
        raise KnowledgeError(f"{path}: the model file is missing; run make knowledge") from error
    except KnowledgeError:
        raise
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise KnowledgeError(f"{path}: the model file cannot be read ({error}); run make knowledge") from error


def _words(data: bytes) -> dict[str, int]:
    words = {}
    for line in data.decode().splitlines():
        word, _, count = line.partition(" ")
        words[word] = int(count)
    return words


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _entry(item: dict[str, Any]) -> KnowledgeEntry:
    return KnowledgeEntry(
        **item
        | {
            "sources": tuple(Source(**source) for source in item["sources"]),
            "cases": tuple(Case(**case) for case in item["cases"]),
            "followups": tuple(FollowUp(**followup) for followup in item["followups"]),
            "lists": {key: tuple(lines) for key, lines in item["lists"].items()},
            "phrases": {key: tuple(lines) for key, lines in item["phrases"].items()},
            "near_misses": tuple((text, topic) for text, topic in item["near_misses"]),
            "english": item["english"]
            and {key: tuple(value) if isinstance(value, list) else value for key, value in item["english"].items()},
        }
    )


def _pack(models: Models) -> dict[str, bytes]:
    return {
        "models/classes.json": _json([[name, *classes] for name, classes in models.classes.items()]),
        "models/keys.npy": _array(models.keys),
        "models/rarity.npy": _array(models.rarity.astype(np.float16)),
        "models/counts.npy": _array(np.diff(models.starts).astype(np.uint16)),
        "models/columns.npy": _array(models.columns),
        "models/values.npy": _array(models.values),
        "models/scale.npy": _array(models.scale),
        "models/bias.npy": _array(models.bias),
    }


def _unpack(bundle: zipfile.ZipFile) -> Models:
    part = {
        key: _load(bundle.read(f"models/{key}.npy"))
        for key in ("keys", "rarity", "counts", "columns", "values", "scale", "bias")
    }
    return Models(
        classes={name: tuple(classes) for name, *classes in json.loads(bundle.read("models/classes.json"))},
        keys=part["keys"],
        rarity=part["rarity"].astype(np.float32),
        starts=np.concatenate([[0], np.cumsum(part["counts"], dtype=np.int32)]).astype(np.int32),
        columns=part["columns"],
        values=part["values"],
        scale=part["scale"],
        bias=part["bias"],
    )


def _array(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _load(data: bytes) -> NDArray[Any]:
    loaded: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return loaded
