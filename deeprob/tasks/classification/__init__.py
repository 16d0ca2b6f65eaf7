"""Classification: one class for every crop."""
