"""
What keeps a host from shipping, and what to do about it: for `spool doctor`.
"""
