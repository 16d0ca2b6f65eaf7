"""What a run is worth: metrics with intervals, baselines, ablations, reports."""
