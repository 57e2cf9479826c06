{%- set natural_key = ['exchange', 'market'] -%}
{%- set content = ['event_at', 'code', 'korean_name', 'english_name', 'warning', 'cautions'] -%}
{%- set columns = contract_fields('market').keys() | list + contract_envelope() -%}

{{
    config(
        meta = {'natural_key': natural_key, 'content': content, 'loser': 'superseded'},
        indexes = [{'columns': natural_key, 'unique': true}],
        post_hook = '{{ record_instruments() }}',
    )
}}

with

arrived as (
    {{ arrived(source('raw', 'market_v1'), 'market') }}
),

normalised as (
    select
        {{ normalised('market') }},
        {{ contract_violation('market') }} as violation
    from arrived
),

-- What the latest list says of a market. One that later lists leave out keeps its last row.
judged as (
    {{ judge('normalised', columns, natural_key, ['event_at desc'], content, 'superseded') }}
)

select * from judged
