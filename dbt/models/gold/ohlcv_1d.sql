{%- set rules = {
    'upstream': ['gold.ohlcv_4h'],
    'bucket': '1 day',
    'look_back': '0',
    'inputs': ['silver.trade'],
} -%}

{{
    config(
        meta = rules,
        indexes = bar_indexes(),
    )
}}

{{ roll_up(ref('ohlcv_4h'), 'gold.ohlcv_1d', rules) }}
