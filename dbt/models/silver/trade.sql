{%- set natural_key = ['exchange', 'market', 'trade_id'] -%}
{%- set content = ['event_at', 'price', 'size', 'side'] -%}
{%- set columns = contract_fields('trade').keys() | list + contract_envelope() -%}

{{
    config(
        meta = {'natural_key': natural_key, 'content': content, 'loser': 'conflict', 'markets': 'silver.market'},
        indexes = [
            {'columns': natural_key, 'unique': true},
            {'columns': ['exchange', 'market', 'event_at']},
        ],
    )
}}

with

arrived as (
    {{ arrived(source('raw', 'trade_v1'), 'trade', ref('market')) }}
),

normalised as (
    select
        {{ normalised('trade') }},
        {{ violation('trade', ref('market')) }} as violation
    from arrived
),

-- The socket's row before REST's: it carries more.
judged as (
    {{ judge('normalised', columns, natural_key, ["(source = 'ws') desc"], content, 'conflict') }}
)

select * from judged
