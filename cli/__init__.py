"""
The `spool` command: parse, call one function, render.
"""
