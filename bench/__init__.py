"""Measurements; each module says what it measures and runs by itself."""
