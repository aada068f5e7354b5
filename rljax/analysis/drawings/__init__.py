"""Drawings of environments, by what is drawn: each module has a table of names, `DRAWINGS`."""
