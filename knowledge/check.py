"""Checks the content on the command line: python -m knowledge.check."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from knowledge.checking import check
from knowledge.entry import PHRASE_FIELDS, KnowledgeError
from knowledge.knowledge import ROOT


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m knowledge.check", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the knowledge folder (default: this package)")
    parser.add_argument(
        "--against",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.tsv",
        help="labelled questions that no phrase may copy",
    )
    parser.add_argument("--no-model", action="store_true", help="do not ask whether the model file is up to date")
    options = parser.parse_args(arguments)
    try:
        faults = check(options.root, against=options.against, model=not options.no_model)
    except KnowledgeError as error:
        print(error, file=sys.stderr)
        return 2
    for fault in faults:
        print(fault)
    fields = ", ".join(PHRASE_FIELDS)
    print(f"{len(faults)} faults" if faults else f"knowledge is in order (phrases read from {fields})")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
