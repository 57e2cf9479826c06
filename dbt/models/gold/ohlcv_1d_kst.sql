{#- Days of Seoul: 15:00 UTC to 15:00 UTC, so they are not made of the days or four hours of UTC. -#}
{%- set rules = {
    'upstream': ['gold.ohlcv_1h'],
    'bucket': '1 day',
    'origin': '2000-01-01 15:00:00+00',
    'look_back': '0',
    'inputs': ['gold.ohlcv_1h'],
} -%}

{{
    config(
        meta = rules,
        indexes = bar_indexes(),
    )
}}

{{ roll_up(ref('ohlcv_1h'), 'gold.ohlcv_1d_kst', rules) }}
