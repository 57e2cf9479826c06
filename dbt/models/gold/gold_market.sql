{#- A view of silver's list, with what other tables know of the same market. The model's name is not that of the view:
    silver has a model called market. -#}
{{ config(materialized = 'lasting_view', alias = 'market') }}

with

listings as (
    select
        *,
        max(event_at) over (partition by exchange) as latest_list_at
    from {{ ref('market') }}
),

assets as (
    select *
    from {{ ref('asset') }}
    where coalesce(valid_from, '-infinity') <= now() and coalesce(valid_to, 'infinity') > now()
),

-- Most exchanges name a coin by its letters alone: the name is that of the same asset where it has one.
names as (
    select
        assets.asset,
        assets.kind,
        min(listings.korean_name) as korean_name,
        min(listings.english_name) as english_name
    from listings
    inner join assets on listings.exchange = assets.exchange and listings.market = assets.market
    where listings.korean_name is not null
    group by assets.asset, assets.kind
),

histories as (
    select
        exchange,
        code,
        min(valid_from) as first_seen_at
    from {{ source('accounts', 'instrument') }}
    group by exchange, code
)

select
    listings.exchange,
    listings.market,
    listings.code,
    coalesce(listings.korean_name, names.korean_name) as korean_name,
    coalesce(listings.english_name, names.english_name) as english_name,
    coalesce(listings.instrument, 'spot') as instrument,
    assets.kind,
    assets.asset,
    assets.multiplier,
    assets.base,
    assets.quote,
    listings.settle,
    listings.state,
    listings.warning,
    listings.cautions,
    -- The parts of one list are asked for one after the other.
    listings.event_at > listings.latest_list_at - interval '1 hour' as is_listed,
    listings.begins_at as listed_at,
    histories.first_seen_at,
    listings.expires_at,
    trim_scale(listings.contract_size) as contract_size,
    trim_scale(listings.tick_size) as tick_size,
    listings.is_inverse,
    listings.event_at as as_of
from listings
left join assets on listings.exchange = assets.exchange and listings.market = assets.market
left join names on assets.asset = names.asset and assets.kind = names.kind
left join histories on listings.exchange = histories.exchange and listings.code = histories.code
