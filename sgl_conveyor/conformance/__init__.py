"""Whether the sandbox of this machine keeps what docs/security.md promises.

Small programs that try what must not work, and some that must, run in real workers. The launcher
runs those that take a moment before it starts; `sgl-conveyor doctor`, and the tests, run all.
"""
