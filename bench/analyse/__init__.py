"""What the files of results hold, and the figures made of them."""
