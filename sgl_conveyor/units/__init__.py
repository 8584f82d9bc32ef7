"""Text → units: what a tool is fed, split off as the region's text arrives, one kind a file.

Each splitter has `feed(text)`, which returns the units that this text made certain, and
`close()`, which returns those that only the region's end makes certain. Where the text is cut
between two calls of `feed` never changes the units.
"""
