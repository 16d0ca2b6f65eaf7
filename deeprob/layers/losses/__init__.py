"""Losses: one number to descend on, and its gradient."""
