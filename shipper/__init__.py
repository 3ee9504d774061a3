"""
The shipper: container logs into the spool, and from the spool to Amazon CloudWatch Logs.
"""
