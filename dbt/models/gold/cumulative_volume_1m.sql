{#- A view: a late trade changes the rest of its day, and nothing has to be replaced for that. -#}
{{ config(materialized = 'lasting_view') }}

with

days as (
    select
        exchange,
        market,
        bucket_at,
        volume_base,
        volume_quote,
        {{ floor_to('1 day', 'bucket_at') }} as day_at
    from {{ ref('ohlcv_1m') }}
)

select
    exchange,
    market,
    bucket_at,
    volume_base,
    volume_quote,
    sum(volume_base) over of_the_day as cumulative_volume_base,
    sum(volume_quote) over of_the_day as cumulative_volume_quote
from days
window of_the_day as (partition by exchange, market, day_at order by bucket_at)
