"""`rljax bench`, from a clone: python scripts/benchmark.py --suite ppo (docs/benchmarks.md)."""

import sys

from rljax.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
