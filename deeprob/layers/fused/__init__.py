"""Two or more layers with one backward, which keeps less or passes over memory less often."""
