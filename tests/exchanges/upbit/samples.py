"""Upbit's messages, written by hand from the fact sheet: one of each kind in each format.

Lives here: bytes as the exchange sends them. Doesn't: what they mean (the tests).
"""

from __future__ import annotations

TRADE = (
    b'{"type":"trade","code":"KRW-BTC","timestamp":1789874437622,"trade_date":"2026-09-20",'
    b'"trade_time":"03:20:37","trade_timestamp":1789874437574,"trade_price":109649000.0,"trade_volume":0.0009,'
    b'"ask_bid":"BID","prev_closing_price":110917000.00000000,"change":"FALL","change_price":1268000.00000000,'
    b'"sequential_id":17898744375740003,"best_ask_price":109649000,"best_ask_size":0.02228361,'
    b'"best_bid_price":109602000,"best_bid_size":7.9276E-4,"stream_type":"REALTIME"}'
)
TRADE_SHORT = (
    b'{"ty":"trade","cd":"KRW-BTC","tms":1789874437622,"td":"2026-09-20","ttm":"03:20:37","ttms":1789874437574,'
    b'"tp":109649000.0,"tv":0.0009,"ab":"BID","pcp":110917000.00000000,"c":"FALL","cp":1268000.00000000,'
    b'"sid":17898744375740003,"bap":109649000,"bas":0.02228361,"bbp":109602000,"bbs":7.9276E-4,"st":"REALTIME"}'
)
#: As it was before 2024-11-27: no best levels, execution times in whole seconds.
TRADE_2021 = (
    b'{"ty":"trade","cd":"KRW-LAMB","tms":1618678262712,"td":"2021-04-17","ttm":"16:51:02","ttms":1618678262000,'
    b'"tp":127.0,"tv":46.48838371,"ab":"ASK","pcp":123.00000000,"c":"RISE","cp":4.00000000,"sid":1618678262000003,'
    b'"st":"REALTIME"}'
)
TICKER = (
    b'{"type":"ticker","code":"KRW-BTC","opening_price":158219000.00000000,"high_price":159278000.00000000,'
    b'"low_price":157588000.00000000,"trade_price":158200000.00000000,"prev_closing_price":158200000.00000000,'
    b'"acc_trade_price":95088751392.9099200000000000,"change":"EVEN","change_price":0E-8,'
    b'"signed_change_price":0E-8,"change_rate":0,"signed_change_rate":0,"ask_bid":"ASK","trade_volume":0.00011188,'
    b'"acc_trade_volume":600.09226312,"trade_date":"20250926","trade_time":"082646",'
    b'"trade_timestamp":1758875206936,"acc_ask_volume":341.67996226,"acc_bid_volume":258.41230086,'
    b'"highest_52_week_price":1.699E8,"highest_52_week_date":"2025-08-14","lowest_52_week_price":80635000.0,'
    b'"lowest_52_week_date":"2024-10-10","market_state":"ACTIVE","is_trading_suspended":false,'
    b'"delisting_date":null,"market_warning":"NONE","timestamp":1758875206974,'
    b'"acc_trade_price_24h":331188513477.17233,"acc_trade_volume_24h":2083.83396972,"stream_type":"REALTIME"}'
)
TICKER_SHORT = (
    b'{"ty":"ticker","cd":"KRW-BTC","op":158219000.00000000,"hp":159278000.00000000,"lp":157588000.00000000,'
    b'"tp":158200000.00000000,"pcp":158200000.00000000,"atp":95088751392.9099200000000000,"c":"EVEN","cp":0E-8,'
    b'"scp":0E-8,"cr":0,"scr":0,"ab":"ASK","tv":0.00011188,"atv":600.09226312,"tdt":"20250926","ttm":"082646",'
    b'"ttms":1758875206936,"aav":341.67996226,"abv":258.41230086,"h52wp":1.699E8,"h52wdt":"2025-08-14",'
    b'"l52wp":80635000.0,"l52wdt":"2024-10-10","ms":"ACTIVE","its":false,"dd":null,"mw":"NONE",'
    b'"tms":1758875206974,"atp24h":331188513477.17233,"atv24h":2083.83396972,"st":"REALTIME"}'
)
#: Two levels of asks, one of bids: the thin side is padded with zeros.
ORDERBOOK = (
    b'{"type":"orderbook","code":"KRW-DOT","timestamp":1614729599677,"total_ask_size":206.5,'
    b'"total_bid_size":47.62562404,"orderbook_units":['
    b'{"ask_price":41840.0,"bid_price":41730.0,"ask_size":103.6,"bid_size":47.62562404},'
    b'{"ask_price":41850.0,"bid_price":0,"ask_size":102.9,"bid_size":0E-8}],"level":0,"stream_type":"SNAPSHOT"}'
)
ORDERBOOK_SHORT = (
    b'{"ty":"orderbook","cd":"KRW-DOT","tms":1614729599677,"tas":206.5,"tbs":47.62562404,"obu":['
    b'{"ap":41840.0,"bp":41730.0,"as":103.6,"bs":47.62562404},{"ap":41850.0,"bp":0,"as":102.9,"bs":0E-8}],'
    b'"lv":0,"st":"SNAPSHOT"}'
)
CANDLE = (
    b'{"type":"candle.60m","code":"USDT-BTC","candle_date_time_utc":"2026-07-30T07:00:00",'
    b'"candle_date_time_kst":"2026-07-30T16:00:00","opening_price":91154.00000000,"high_price":91157.00000000,'
    b'"low_price":91142.00000000,"trade_price":91156.5,"candle_acc_trade_volume":0.15511395,'
    b'"candle_acc_trade_price":14139.44826754,"timestamp":1785397531885,"stream_type":"REALTIME"}'
)
CANDLE_SHORT = (
    b'{"ty":"candle.60m","cd":"USDT-BTC","cdttmu":"2026-07-30T07:00:00","cdttmk":"2026-07-30T16:00:00",'
    b'"op":91154.00000000,"hp":91157.00000000,"lp":91142.00000000,"tp":91156.5,"catv":0.15511395,'
    b'"catp":14139.44826754,"tms":1785397531885,"st":"REALTIME"}'
)
STATUS = b'{"status":"UP"}'
ERROR = b'{"error":{"name":"NO_CODES","message":"codes is required"}}'

#: dataset: (DEFAULT, SIMPLE)
BY_DATASET = {
    "trade": (TRADE, TRADE_SHORT),
    "ticker": (TICKER, TICKER_SHORT),
    "orderbook": (ORDERBOOK, ORDERBOOK_SHORT),
    "candle": (CANDLE, CANDLE_SHORT),
}
