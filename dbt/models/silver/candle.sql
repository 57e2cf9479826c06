{%- set natural_key = ['exchange', 'market', 'interval', 'event_at'] -%}
{%- set content = [
    'updated_at', 'is_closed', 'open', 'high', 'low', 'close', 'volume_base', 'volume_quote',
] -%}
{%- set columns = contract_fields('candle').keys() | list + contract_envelope() -%}

{{
    config(
        meta = {'natural_key': natural_key, 'content': content, 'loser': 'superseded', 'markets': 'silver.market'},
        indexes = [{'columns': natural_key, 'unique': true}],
    )
}}

with

arrived as (
    {{ arrived(source('raw', 'candle_v1'), 'candle', ref('market')) }}
),

normalised as (
    select
        {{ normalised('candle') }},
        {{ violation('candle', ref('market')) }} as violation
    from arrived
),

-- A bar that the exchange has closed is the bar; else its latest state. Within one tick's millisecond the state with
-- more volume is the later one.
judged as (
    {{
        judge(
            'normalised', columns, natural_key,
            ['is_closed desc nulls last', 'updated_at desc', 'volume_base desc', 'volume_quote desc', "(source = 'ws') desc"],
            content, 'superseded'
        )
    }}
)

select * from judged
