"""From frames to batches: samples in memory, augmentation, loading."""
