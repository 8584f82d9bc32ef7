"""Returns 15 MiB of brackets eight times, without waiting for its region's end."""
brackets = b"[" + b",".join([b"[]"] * 5_000_000) + b"]"
for _ in range(8):
    rest, pieces = r._host.send_pieces(brackets)
    say(m.encode(m.Finished(r.call, rest, None, 0.0, 0.0, pieces)))
