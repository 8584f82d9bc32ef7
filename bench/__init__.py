"""The measurements: what partial execution saves, what it costs, and the report of both.

workloads  what is run: the recorded calls, the search service, tools, the client's own workers
analyse    what the files of results hold, and the figures made of them; no server, no clock
measure    the benches: each starts servers or a dispatcher, measures, and writes a file of results
report     Markdown, tables and pictures, from the files
fuzz       hostile bytes at every socket of a dispatcher, beside calls that must not be harmed

A package imports only those above it. `python -m bench.measure.NAME` measures,
`python -m bench.report` writes bench/REPORT.md, and `python -m bench.fuzz` ends with 1 if anything
was harmed.
"""
