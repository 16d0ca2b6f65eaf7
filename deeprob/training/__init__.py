"""Training: the Lightning module, objectives, schedules, and `run.py`, which knows nothing of Hydra."""
