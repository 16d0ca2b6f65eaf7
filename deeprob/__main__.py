"""`python -m deeprob` is the `deeprob` command."""

import sys

from deeprob.cli import main

if __name__ == "__main__":
    sys.exit(main())
