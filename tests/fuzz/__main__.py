"""python -m tests.fuzz [SECONDS]: fuzz the callback parser, guided by coverage, with atheris (see `make fuzz`).

A finding is printed with its traceback and kept as a file, whose name is printed too.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["bot.channels", "wechatpy", "xmltodict"]):
    from tests.fuzz import target

SECONDS = 60


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    corpus = Path(tempfile.mkdtemp(prefix="officer-fuzz-"))
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number:02}").write_bytes(seed)
    target.stop_the_clock()
    options = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=5", f"-artifact_prefix={corpus}/", str(corpus)]
    atheris.Setup([sys.argv[0], *options], target.one_callback)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
