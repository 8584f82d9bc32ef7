"""Programs with tool regions, one for each workload; each runs by itself."""
