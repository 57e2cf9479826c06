{%- set rules = {
    'upstream': ['gold.ohlcv_5m'],
    'bucket': '15 minutes',
    'look_back': '0',
    'inputs': ['silver.trade'],
} -%}

{{
    config(
        meta = rules,
        indexes = bar_indexes(),
    )
}}

{{ roll_up(ref('ohlcv_5m'), 'gold.ohlcv_15m', rules) }}
