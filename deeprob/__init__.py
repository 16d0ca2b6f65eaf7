"""Robot perception training with every gradient written by hand. See README.md; the rooms are listed there."""

__version__ = "0.1.0"
