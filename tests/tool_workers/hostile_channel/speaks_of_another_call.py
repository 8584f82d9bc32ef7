"""Ends a call that is not its own."""
say(m.encode(m.Finished("0" * 48, b"1", None, 0.0, 0.0)))
time.sleep(5)
