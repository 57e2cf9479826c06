{%- set rules = {
    'upstream': ['gold.ohlcv_1m'],
    'bucket': '5 minutes',
    'look_back': '0',
    'inputs': ['silver.trade'],
} -%}

{{
    config(
        meta = rules,
        indexes = bar_indexes(),
    )
}}

{{ roll_up(ref('ohlcv_1m'), 'gold.ohlcv_5m', rules) }}
