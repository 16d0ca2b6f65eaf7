"""Models: wiring over `deeprob.layers`, no mathematics of their own."""
