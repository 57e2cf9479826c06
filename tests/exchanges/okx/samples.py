"""OKX's messages, written by hand from the fact sheet and the documentation's forms: one of each kind.

Lives here: bytes as the exchange sends them. Doesn't: what they mean (the tests).
"""

from __future__ import annotations

#: Three trades of one taker at one price, 7.5 contracts of 0.01 BTC; ids 130639472 to 130639474.
TRADE = (
    b'{"arg":{"channel":"trades","instId":"BTC-USDT-SWAP"},"data":[{"instId":"BTC-USDT-SWAP","tradeId":"130639474",'
    b'"px":"102810.1","sz":"7.5","side":"buy","ts":"1747087163557","count":"3"}]}'
)
#: As it was in 2022: no count.
TRADE_2022 = (
    b'{"arg":{"channel":"trades","instId":"ZEN-USDT"},"data":[{"instId":"ZEN-USDT","tradeId":"15270488",'
    b'"px":"32.49","sz":"8","side":"sell","ts":"1646003685888"}]}'
)
TICKER = (
    b'{"arg":{"channel":"tickers","instId":"ETH-USDT-SWAP"},"data":[{"instType":"SWAP","instId":"ETH-USDT-SWAP",'
    b'"last":"2560.01","lastSz":"12.3","askPx":"2560.02","askSz":"100","bidPx":"2560","bidSz":"250.5",'
    b'"open24h":"2500","high24h":"2600.5","low24h":"2490.1","sodUtc0":"2510","sodUtc8":"2520.2",'
    b'"volCcy24h":"1234567.8","vol24h":"12345678","ts":"1747087163600"}]}'
)
#: An option nobody bids for: empty texts.
TICKER_WITHOUT_BID = (
    b'{"arg":{"channel":"tickers","instId":"BTC-USD-220624-50000-C"},"data":[{"instType":"OPTION",'
    b'"instId":"BTC-USD-220624-50000-C","last":"0.0005","lastSz":"6","askPx":"0.0015","askSz":"330","bidPx":"",'
    b'"bidSz":"","open24h":"0.0005","high24h":"0.0005","low24h":"0.0005","sodUtc0":"0.0005","sodUtc8":"0.0005",'
    b'"volCcy24h":"0","vol24h":"0","ts":"1654155480000"}]}'
)
#: 13:05 UTC, forming.
CANDLE = (
    b'{"arg":{"channel":"candle5m","instId":"BTC-USDT-SWAP"},"data":[["1747055100000","102800","102850.5","102799.9",'
    b'"102810","1040.37","10.4037","1069603.35","0"]]}'
)
CANDLE_CLOSED = CANDLE.replace(b'"0"]', b'"1"]')
#: As it was in 2022: seven values.
CANDLE_2022 = (
    b'{"arg":{"channel":"candle1m","instId":"BTC-USDT-SWAP"},"data":[["1662716640000","20702.4","20710","20702.3",'
    b'"20703.8","4070","40.7"]]}'
)
BOOK_SNAPSHOT = (
    b'{"arg":{"channel":"books","instId":"BTC-USDT-SWAP"},"action":"snapshot","data":[{"asks":[["8476.98","415","0",'
    b'"13"],["8477","7","0","2"]],"bids":[["8476.97","256","0","12"],["8475.55","101","0","1"]],'
    b'"ts":"1787087163550","checksum":0,"prevSeqId":-1,"seqId":123456}]}'
)
BOOK_UPDATE = (
    b'{"arg":{"channel":"books","instId":"BTC-USDT-SWAP"},"action":"update","data":[{"asks":[["8477","0","0","0"]],'
    b'"bids":[],"ts":"1787087163650","checksum":0,"prevSeqId":123456,"seqId":123460}]}'
)
ACK = b'{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT-SWAP"},"connId":"a4d3ae55"}'
ERROR = (
    b'{"event":"error","code":"60018","msg":"Wrong URL or channel:candle1s,instId:BTC-USDT-SWAP doesn\'t exist. '
    b'Please use the correct URL, channel and parameters referring to API document.","connId":"a4d3ae55"}'
)
NOTICE = (
    b'{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade. Please '
    b'reconnect.","connId":"a4d3ae55"}'
)
PONG = b"pong"

BY_DATASET = {
    "trade": (TRADE, TRADE_2022),
    "ticker": (TICKER, TICKER_WITHOUT_BID),
    "candle": (CANDLE, CANDLE_CLOSED, CANDLE_2022),
    "depth": (BOOK_SNAPSHOT, BOOK_UPDATE),
}
