"""Data sources, views, augmentation and loading. `frame.py` holds the contract."""
