"""Sends a frame that is no message."""
say(b"junk")
time.sleep(5)
