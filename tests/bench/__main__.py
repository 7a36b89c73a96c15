"""Runs the benchmarks: `make bench`, or `python -m tests.bench callbacks|questions|voices|deliveries`."""

import sys
from collections.abc import Callable

from bot.security import logging as logs
from tests.bench import bench_callbacks, bench_deliveries, bench_matcher, bench_voices

BENCHMARKS: dict[str, Callable[[list[str]], object]] = {
    "callbacks": bench_callbacks.main,
    "questions": bench_matcher.main,
    "voices": bench_voices.main,
    "deliveries": bench_deliveries.main,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"error: no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    logs.set_up()  # to stderr
    for name in names or BENCHMARKS:
        print(f"\n== {name} ==", flush=True)
        BENCHMARKS[name]([])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
