{%- set rules = {
    'upstream': ['gold.ohlcv_1h'],
    'bucket': '4 hours',
    'look_back': '0',
    'inputs': ['silver.trade'],
} -%}

{{
    config(
        meta = rules,
        indexes = bar_indexes(),
    )
}}

{{ roll_up(ref('ohlcv_1h'), 'gold.ohlcv_4h', rules) }}
