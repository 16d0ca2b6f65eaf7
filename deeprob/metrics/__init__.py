"""One file a task; every metric streams over batches and merges exactly over processes."""
