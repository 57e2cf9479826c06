"""The hidden market: one price per coin, and the trades, books and candles that follow from it.

Lives here: what happens in the market, by seed, in plain integers, known to no exchange. Doesn't: how an
exchange tells it (``upbit``), or when it is told (``timeline``, ``player``). Another exchange plays over the
same prices.

Everything is a function of (seed, market, hour): asking in another order, or in other portions, changes
nothing. Prices and sizes are integers of 1e-8 (``E8``) of the quote or base currency, quote values integers
of 1e-16 (``E16``), so that every sum is exact and every spelling as well.
"""
