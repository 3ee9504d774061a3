"""
The spool: here a line is safe.

Lines come in through `Store.append`, rest in one SQLite file keyed by CloudWatch log group and
stream, and leave when a batch that held them is settled. This package knows no Docker and no AWS.
"""

__version__ = "0.1.0"
