"""python scripts/report.py ...: the same as `deeprob report ...`."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main(["report", *sys.argv[1:]]))
