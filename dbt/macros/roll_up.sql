{#-
    Bars from shorter bars, for the touched stretches of event time. Exact: open and close are those of the first and
    last bar within, the rest adds up. vwap is made from the sums, not from the vwaps.
-#}
{% macro roll_up(bars, consumer, rules) %}
{%- set bucket = rules.bucket -%}
with

touched as (
    {{ touched_ranges(consumer, rules) }}
),

rolled_up as (
    select
        touched.exchange,
        touched.market,
        bar.*
    from touched
    inner join lateral (
        select
            {{ floor_to(bucket, 'shorter.bucket_at', rules.origin) }} as bucket_at,
            (min(array[extract(epoch from shorter.bucket_at), open]))[2] as open,
            max(high) as high,
            min(low) as low,
            (max(array[extract(epoch from shorter.bucket_at), close]))[2] as close,
            trim_scale(sum(volume_base)) as volume_base,
            trim_scale(sum(volume_quote)) as volume_quote,
            {{ vwap('sum(volume_quote)', 'sum(volume_base)') }} as vwap,
            sum(trade_count)::bigint as trade_count,
            trim_scale(sum(buy_volume_base)) as buy_volume_base,
            trim_scale(sum(sell_volume_base)) as sell_volume_base
        from {{ bars }} as shorter
        where shorter.exchange = touched.exchange
            and shorter.market = touched.market
            and shorter.bucket_at >= touched.from_at
            and shorter.bucket_at < touched.to_at
        group by {{ floor_to(bucket, 'shorter.bucket_at', rules.origin) }}
    ) as bar on true
)

select * from rolled_up
{% endmacro %}


{#- Every bar is found by its series and start. -#}
{% macro bar_indexes() %}
    {{- return([{'columns': ['exchange', 'market', 'bucket_at'], 'unique': true}, {'columns': ['bucket_at']}]) -}}
{% endmacro %}
