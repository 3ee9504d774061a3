"""
python -m cli: the `spool` command.
"""

from cli.main import main

main()
