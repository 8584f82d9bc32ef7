"""The fuzz run: hostile bytes at every socket of a real dispatcher, while honest calls go on."""
