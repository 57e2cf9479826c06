{#- What gold.kimchi_premium_1m leaves out: pairs whose two markets are hardly of one asset, or not in one unit. -#}
{%- set rules = {
    'upstream': ['gold.ohlcv_1m'],
    'bucket': '1 minute',
    'look_back': '65 minutes',
    'scope': 'everything',
    'inputs': ['gold.ohlcv_1m'],
} -%}

{#- PostgreSQL knows nothing of a CTE's size and takes nested loops for joins of whole days. -#}
{%- set plan = 'set local enable_nestloop to off; set local enable_mergejoin to off' -%}

{{
    config(
        meta = rules,
        pre_hook = plan,
        indexes = [
            {'columns': ['exchange', 'market', 'counter_exchange', 'bucket_at'], 'unique': true},
            {'columns': ['bucket_at']},
        ],
    )
}}

{{ premiums('gold.suspect_premium_1m', rules, is_suspect=true) }}
