"""
The parts of `spool replay`: what was chosen, and the sending of it.
"""
