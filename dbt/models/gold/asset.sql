{#- A view: what a market is of changes with the lists and the overrides, and nothing has to be replaced for that. -#}
{{ config(materialized = 'lasting_view') }}

with

markets as (
    select
        exchange,
        market
    from {{ ref('market') }}
),

assets as (
    {{ assets('markets') }}
)

select
    exchange,
    market,
    instrument,
    base,
    quote,
    asset,
    multiplier,
    kind,
    nullif(valid_from, timestamptz '-infinity') as valid_from,
    nullif(valid_to, timestamptz 'infinity') as valid_to
from assets
