{{
    config(
        meta = {'upstream': ['gold.ohlcv_15m'], 'bucket': '1 hour', 'look_back': '0'},
        indexes = bar_indexes(),
    )
}}

{{ roll_up(ref('ohlcv_15m'), 'gold.ohlcv_1h', '1 hour') }}
