{#-
    Bars without holes: from a market's first bar to its last, a bucket in which nothing traded is shown with the close
    before it as all its prices and with no volume. A close is carried over 10,000 buckets at most and never beyond now,
    so that one odd bar can't make a view endless.
-#}
{% macro filled(bars, bucket) %}
with

followed as (
    select
        *,
        lead(bucket_at) over (partition by exchange, market order by bucket_at) as next_at
    from {{ bars }}
),

slots as (
    select
        followed.*,
        slot_at,
        slot_at > bucket_at as is_filled
    from followed
    cross join lateral generate_series(
        bucket_at,
        least(
            coalesce(next_at - interval '{{ bucket }}', bucket_at),
            bucket_at + 10000 * interval '{{ bucket }}',
            greatest(bucket_at, now())
        ),
        interval '{{ bucket }}'
    ) as slot (slot_at)
)

select
    exchange,
    market,
    slot_at as bucket_at,
    case when is_filled then close else open end as open,
    case when is_filled then close else high end as high,
    case when is_filled then close else low end as low,
    close,
    case when is_filled then 0 else volume_base end as volume_base,
    case when is_filled then 0 else volume_quote end as volume_quote,
    case when not is_filled then vwap end as vwap,
    case when is_filled then 0 else trade_count end as trade_count,
    case when is_filled then 0 else buy_volume_base end as buy_volume_base,
    case when is_filled then 0 else sell_volume_base end as sell_volume_base,
    is_filled
from slots
{% endmacro %}
