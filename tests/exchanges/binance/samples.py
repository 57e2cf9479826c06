"""Binance's messages, written by hand from the fact sheet: one of each kind.

Lives here: bytes as the exchange sends them. Doesn't: what they mean (the tests).
"""

from __future__ import annotations

TRADE = (
    b'{"e":"aggTrade","E":1774000000123,"s":"BTCUSDT","a":3164870001,"p":"64250.10","q":"0.250","f":7301200010,'
    b'"l":7301200013,"T":1774000000101,"m":true}'
)
CANDLE = (
    b'{"e":"kline","E":1774000031250,"s":"ETHUSDT","k":{"t":1773999960000,"T":1774000019999,"s":"ETHUSDT","i":"1m",'
    b'"f":5100,"L":5149,"o":"3400.10","c":"3401.00","h":"3402.50","l":"3399.90","v":"120.500","n":50,"x":true,'
    b'"q":"409820.50500","V":"70.250","Q":"238925.25000","B":"0"}}'
)
DEPTH = (
    b'{"e":"depthUpdate","E":1774000000200,"T":1774000000195,"s":"BTCUSDT","U":9000000101,"u":9000000140,'
    b'"pu":9000000090,"b":[["64250.00","1.500"],["64249.90","0.000"]],"a":[["64250.10","0.750"]]}'
)
TICKER = (
    b'{"e":"24hrTicker","E":1774000000500,"s":"BTCUSDT","p":"-250.00","P":"-0.388","w":"64300.55","c":"64250.10",'
    b'"Q":"0.250","o":"64500.10","h":"65000.00","l":"64000.00","v":"12345.678","q":"793800000.12","O":1773913560000,'
    b'"C":1774000000499,"F":7300000000,"L":7301200013,"n":1200014}'
)
BOOK_TICKER = (
    b'{"e":"bookTicker","u":9000000140,"s":"BTCUSDT","b":"64250.00","B":"1.500","a":"64250.10","A":"0.750",'
    b'"T":1774000000195,"E":1774000000200}'
)
ACK = b'{"result":null,"id":3}'
ERROR = b'{"error":{"code":2,"msg":"Invalid request: invalid stream"},"id":3}'

STREAMS = {"trade": "btcusdt@aggTrade", "candle": "ethusdt@kline_1m", "depth": "btcusdt@depth@100ms"}
STREAMS["ticker"] = "btcusdt@ticker"
BY_DATASET = {"trade": TRADE, "candle": CANDLE, "depth": DEPTH, "ticker": TICKER}


def wrapped(event: bytes, stream: str) -> bytes:
    """The event as a combined stream sends it."""
    return b'{"stream":"' + stream.encode() + b'","data":' + event + b"}"
