"""OKX, as its clients meet it: two WebSocket roots and REST, for perpetual swaps and what it lists beside them.

Contains: OKX's formats, rules and limits over the hidden market.
Does not contain: what happens in the market, the pace, the oracle, what all exchanges of swaps share (``swap``).
"""
