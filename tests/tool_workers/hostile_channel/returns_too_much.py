"""Sends a value of 16 MiB, a file of 16 MiB and an output of 1 MiB, past the worker's own limit."""
for number in range(32):
    say(m.encode(m.DataPiece(r.call, number, bytes(m.PIECE_BYTES))))
say(m.encode(m.FileSent(r.call, "file", "x/y", b"", 32)))
for _ in range(8):
    say(m.encode(m.Emitted(r.call, "x" * m.PIECE_CHARS)))
for number in range(32):
    say(m.encode(m.DataPiece(r.call, number, b"1" * m.PIECE_BYTES)))
say(m.encode(m.Finished(r.call, b"1", None, 0.0, 0.0, 32)))
