"""Benchmarks: fixed pieces of work, done by rljax and by other libraries, with results checked.

`command` is `rljax bench`. `rows` lists all work, `libraries` the libraries that can do it, and
`peers` where those are installed. `sides/` has one script for each library, which runs in that
library's own environment; `measuring` lets the sides take turns. `result_files` keeps the results,
`tables` prints them, and `drawing` plots them. Each script in `studies/` answers one question.
"""
