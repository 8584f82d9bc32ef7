"""Says hello twenty thousand times, as a worker may once."""
for _ in range(20_000):
    say(m.encode(m.WorkerHello(1)))
