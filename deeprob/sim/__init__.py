"""Simulated scenes: PyBullet settles them, a rasteriser of our own renders them, with exact labels."""
