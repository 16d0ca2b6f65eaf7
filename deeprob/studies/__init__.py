"""Studies over many runs: ablation, comparison, sweep, project card."""
