"""
Where lines come in: each source gives readings, chunks of events and where it stands behind them.
"""
