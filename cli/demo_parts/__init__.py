"""
The parts of `spool demo`: what logs, what receives, what stands between, and what happens.
"""
