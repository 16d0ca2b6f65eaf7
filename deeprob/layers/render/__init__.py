"""Motions of rigid bodies, and what a camera sees of them."""
