{%- set rules = {
    'upstream': ['gold.ohlcv_15m'],
    'bucket': '1 hour',
    'look_back': '0',
    'inputs': ['silver.trade'],
} -%}

{{
    config(
        meta = rules,
        indexes = bar_indexes(),
    )
}}

{{ roll_up(ref('ohlcv_15m'), 'gold.ohlcv_1h', rules) }}
