"""What exchanges of perpetual swaps have in common, whatever their words.

Lives here: bars as they grow, the last 24 hours, the clock that tells all that. Doesn't: what happens in the
market (``market``), any exchange's protocol (``okx``, ``binance``).
"""
