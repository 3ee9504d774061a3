"""
In a process with this folder on its PYTHONPATH an examination gives each check a minute: on a
machine that others load one that is well may take longer than the product waits.
"""

from shipper.diagnosis import examination

examination.CHECK_S = examination.TOTAL_S = 60.0
