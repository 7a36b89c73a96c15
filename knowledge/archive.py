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
from knowledge.model import LinearModel

FORMAT = 2
_BYTE = 256
_STAMP = (1980, 1, 1, 0, 0, 0)  # zip's earliest date: the same sources give the same bytes


@dataclass(frozen=True, slots=True)
class Archive:
    """What a build made, and from what: `sources` maps each source file to its fingerprint."""

    sources: Mapping[str, str]
    bands: Mapping[str, float]
    entries: Mapping[str, KnowledgeEntry]
    words: Mapping[str, int]
    models: Mapping[str, LinearModel]


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
    for name, model in sorted(archive.models.items()):
        files |= {f"{name}/{part}": data for part, data in _pack(model).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with zipfile.ZipFile(unfinished, "w") as bundle:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(name, _STAMP)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            bundle.writestr(info, data, compresslevel=9)
    unfinished.replace(path)  # whoever loads it meanwhile has the old one whole


def read_archive(path: Path) -> Archive:
    try:
        with zipfile.ZipFile(path) as bundle:
            files = {name: bundle.read(name) for name in bundle.namelist()}
        meta = json.loads(files["meta.json"])
    except FileNotFoundError as error:
        raise KnowledgeError(f"{path}: the model file is missing; run make knowledge") from error
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise KnowledgeError(f"{path}: the model file cannot be read ({error}); run make knowledge") from error
    if meta.get("format") != FORMAT:
        raise KnowledgeError(
            f"{path}: the model file has format {meta.get('format')}, this program reads {FORMAT}; run make knowledge"
        )
    entries = [_entry(item) for item in json.loads(files["entries.json"])]
    words = {}
    for line in files["words.txt"].decode().splitlines():
        word, _, count = line.partition(" ")
        words[word] = int(count)
    names = sorted({name.partition("/")[0] for name in files if "/" in name})
    return Archive(
        meta["sources"],
        meta["bands"],
        {entry.topic: entry for entry in entries},
        words,
        {name: _unpack(files, name) for name in names},
    )


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


def _pack(model: LinearModel) -> dict[str, bytes]:
    return {
        "classes.txt": "\n".join(model.classes).encode(),
        "keys.npy": _array(model.keys),
        "rarity.npy": _array(model.rarity.astype(np.float16)),
        "counts.npy": _array(np.diff(model.starts).astype(np.uint16)),
        "columns.npy": _array(model.columns.astype(np.uint8 if len(model.classes) <= _BYTE else np.uint16)),
        "values.npy": _array(model.values),
        "scale.npy": _array(model.scale),
        "bias.npy": _array(model.bias),
    }


def _unpack(files: Mapping[str, bytes], name: str) -> LinearModel:
    part = {key: _load(files[f"{name}/{key}.npy"]) for key in ("keys", "rarity", "counts", "columns", "values")}
    return LinearModel(
        classes=tuple(files[f"{name}/classes.txt"].decode().split("\n")),
        keys=part["keys"],
        rarity=part["rarity"].astype(np.float32),
        starts=np.concatenate([[0], np.cumsum(part["counts"], dtype=np.int32)]).astype(np.int32),
        columns=part["columns"].astype(np.uint16),
        values=part["values"],
        scale=_load(files[f"{name}/scale.npy"]),
        bias=_load(files[f"{name}/bias.npy"]),
    )


def _array(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _load(data: bytes) -> NDArray[Any]:
    loaded: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return loaded
