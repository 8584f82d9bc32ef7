"""python -m bench.report: Markdown, tables and pictures, from the files of results."""
