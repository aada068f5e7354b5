"""Benchmarks: fixed pieces of work, other libraries in turns with us, and learning checked.

`rows` is the list of all work, `sides/` has one script for each library, which runs in that
library's own environment; `measuring` lets them take turns, `result_files` keeps and prints what
came of it, and `drawing` draws it. `command` is `rljax bench`, and `studies/` has the scripts that
answer one question each.
"""
