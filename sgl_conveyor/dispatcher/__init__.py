"""The dispatcher process: it keeps the calls, detokenizes, and passes text to tool workers."""
