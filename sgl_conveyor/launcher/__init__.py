"""The processes of one server: checked before they start, started, watched, ended."""
