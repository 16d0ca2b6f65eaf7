"""python scripts/submit.py ...: the same as `deeprob submit ...`."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main(["submit", *sys.argv[1:]]))
