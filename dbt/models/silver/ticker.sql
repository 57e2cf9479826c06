{%- set natural_key = ['exchange', 'market', 'event_at', 'content_hash'] -%}
{%- set fields = contract_fields('ticker').keys() | list -%}
{%- set content = fields | reject('in', ['exchange', 'market', 'code', 'event_at', 'stream_type']) | list -%}
{%- set columns = fields + contract_envelope() + ['content_hash'] -%}

{{
    config(
        meta = {'natural_key': natural_key, 'content': [], 'markets': 'silver.market'},
        indexes = [{'columns': natural_key, 'unique': true}],
    )
}}

with

arrived as (
    {{ arrived(source('raw', 'ticker_v1'), 'ticker', ref('market')) }}
),

normalised as (
    select
        {{ normalised('ticker') }},
        {{ violation('ticker', ref('market')) }} as violation
    from arrived
),

-- Two tickers of one millisecond are two states unless they say the same; a snapshot repeats a state.
hashed as (
    select
        *,
        {{ content_hash(content) }} as content_hash
    from normalised
),

judged as (
    {{ judge('hashed', columns, natural_key, ["(source = 'ws') desc"]) }}
)

select * from judged
