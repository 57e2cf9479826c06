{%- set natural_key = ['exchange', 'market', 'event_at'] -%}
{%- set columns = [
    'exchange', 'market', 'code', 'event_at', 'stated_at',
    'last_price', 'open_price', 'high_price', 'low_price', 'prices_since',
    'volume_base_24h', 'volume_quote_24h', 'document_hash',
] + contract_envelope() -%}

{{
    config(
        meta = {
            'natural_key': natural_key, 'content': ['document_hash'], 'loser': 'conflict', 'markets': 'silver.market',
        },
        indexes = [{'columns': natural_key, 'unique': true}, {'columns': ['exchange', 'event_at']}],
    )
}}

with

arrived as (
    {{ arrived(source('raw', 'snapshot_v1'), 'snapshot', ref('market')) }}
),

-- Exchanges name the same thing differently, and some the same differently by what is traded: of a spot market the
-- volume in money stands where of a contract that in coins does.
stated as (
    select
        exchange,
        market,
        code,
        event_at,
        {{ document_time(['timestamp', 'ts', 'closeTime']) }} as stated_at,
        {{ document_number(['trade_price', 'last', 'lastPrice']) }} as last_price,
        {{ document_number(['opening_price', 'open24h', 'openPrice']) }} as open_price,
        {{ document_number(['high_price', 'high24h', 'highPrice']) }} as high_price,
        {{ document_number(['low_price', 'low24h', 'lowPrice']) }} as low_price,
        case when document ? 'opening_price' then 'utc_day' else '24h' end as prices_since,
        case
            when document ->> 'instType' <> 'SPOT' then {{ document_number(['volCcy24h']) }}
            else {{ document_number(['acc_trade_volume_24h', 'volume', 'vol24h']) }}
        end as volume_base_24h,
        case
            when document ->> 'instType' = 'SPOT' then {{ document_number(['volCcy24h']) }}
            else {{ document_number(['acc_trade_price_24h', 'quoteVolume']) }}
        end as volume_quote_24h,
        md5(document::text) as document_hash,
        {{ contract_envelope() | join(',\n        ') }},
        {{ violation('snapshot', ref('market')) }} as violation
    from arrived
),

judged as (
    {{ judge('stated', columns, natural_key, [], ['document_hash'], 'conflict') }}
)

select * from judged
