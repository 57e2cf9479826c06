{#-
    Bars of ours and bars that the exchange states itself, one a bucket: the one with more volume, ours where both have
    the same. Volume only grows while a bar fills, so of two views of one bar the fuller is the later and the truer.
-#}
{% macro fuller_bars(bars, candles, interval) %}
with

theirs as (
    select
        exchange,
        market,
        event_at as bucket_at,
        open,
        high,
        low,
        close,
        volume_base,
        volume_quote
    from {{ candles }}
    where interval = '{{ interval }}' and volume_base > 0
)

select
    ours.exchange,
    ours.market,
    ours.bucket_at,
    ours.open,
    ours.high,
    ours.low,
    ours.close,
    ours.volume_base,
    ours.volume_quote,
    true as is_ours
from {{ bars }} as ours
where not exists (
        select from theirs
        where theirs.exchange = ours.exchange
            and theirs.market = ours.market
            and theirs.bucket_at = ours.bucket_at
            and theirs.volume_base > ours.volume_base
    )
union all
select
    theirs.exchange,
    theirs.market,
    theirs.bucket_at,
    theirs.open,
    theirs.high,
    theirs.low,
    theirs.close,
    theirs.volume_base,
    theirs.volume_quote,
    false as is_ours
from theirs
where not exists (
        select from {{ bars }} as ours
        where ours.exchange = theirs.exchange
            and ours.market = theirs.market
            and ours.bucket_at = theirs.bucket_at
            and ours.volume_base >= theirs.volume_base
    )
{% endmacro %}
