{{
    config(
        meta = {'upstream': ['gold.ohlcv_1h'], 'bucket': '4 hours', 'look_back': '0'},
        indexes = bar_indexes(),
    )
}}

{{ roll_up(ref('ohlcv_1h'), 'gold.ohlcv_4h', '4 hours') }}
