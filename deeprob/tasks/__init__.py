"""Tasks: what a network is trained and evaluated for, one folder each."""
