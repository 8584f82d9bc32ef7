"""What the workers run: the shipped tools, one file each."""
