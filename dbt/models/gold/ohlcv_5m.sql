{{
    config(
        meta = {'upstream': ['gold.ohlcv_1m'], 'bucket': '5 minutes', 'look_back': '0'},
        indexes = bar_indexes(),
    )
}}

{{ roll_up(ref('ohlcv_1m'), 'gold.ohlcv_5m', '5 minutes') }}
