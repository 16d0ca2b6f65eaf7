"""python scripts/render.py ...: the same as `deeprob render ...`."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main(["render", *sys.argv[1:]]))
