"""
The pages of `spool web`.

listening.py holds the socket, server.py what answers on it: guard.py in front, then site.py, which
is Datasette over the spool, with our own pages.py. These show what overview.py and finding.py
read, drawn by plots.py and written out by words.py; mishaps.py is what they say instead.
"""
