"""OKX, as its clients meet it: two WebSocket roots and REST, for perpetual swaps.

Lives here: OKX's words, rules and limits over the hidden market. Doesn't: what happens in the market, the pace,
the oracle, what all exchanges of swaps share (``swap``).
"""
