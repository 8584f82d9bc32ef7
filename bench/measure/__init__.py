"""The benches: each measures with real servers or a real dispatcher, and writes a file."""
