{{
    config(
        meta = {'upstream': ['gold.ohlcv_4h'], 'bucket': '1 day', 'look_back': '0'},
        indexes = bar_indexes(),
    )
}}

{{ roll_up(ref('ohlcv_4h'), 'gold.ohlcv_1d', '1 day') }}
