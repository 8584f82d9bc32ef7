"""Reports millions of units, as many in each frame as it can hold."""
many = m.encode(m.Progress(r.call, [UnitTiming(0.1, 0.1, 0.1)] * 36_000, 1))
while True:
    say(many)
