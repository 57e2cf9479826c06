"""Upbit, as its clients meet it: WebSocket and REST.

Lives here: Upbit's words, rules and limits over the hidden market. Doesn't: what happens in the market, the
pace, the oracle. Another exchange is another folder like this one.
"""
