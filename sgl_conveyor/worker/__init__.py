"""The worker process: it loads one tool, and turns messages into units, units into hook calls."""
