"""Returns 15 MiB of brackets where its result is due."""
from sgl_conveyor.worker import runner
runner.encode_value = lambda value: b"[" + b",".join([b"[]"] * 5_000_000) + b"]"
