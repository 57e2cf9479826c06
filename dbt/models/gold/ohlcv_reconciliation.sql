{#- A view: whatever changes on either side, what stands here is the present difference. -#}
{%- set widths = {
    '1m': '1 minute', '5m': '5 minutes', '15m': '15 minutes', '1h': '1 hour', '4h': '4 hours', '1d': '1 day',
} -%}
{{ config(materialized = 'lasting_view') }}

with

-- A join for each width, so that who asks for one reads the bars of that one alone. An exchange may state a bar in
-- which nothing traded; we have none then, and both say the same.
compared as (
    {%- for interval, width in widths.items() %}
    select
        theirs.exchange,
        theirs.market,
        theirs.interval,
        theirs.event_at as bucket_at,
        interval '{{ width }}' as width,
        ours.close as our_close,
        theirs.close as their_close,
        ours.volume_base as our_volume_base,
        theirs.volume_base as their_volume_base,
        ours.volume_quote as our_volume_quote,
        theirs.volume_quote as their_volume_quote,
        (ours.open, ours.high, ours.low, ours.close)
        = (theirs.open, theirs.high, theirs.low, theirs.close) as same_prices,
        coalesce(ours.volume_base, 0) - theirs.volume_base as volume_base_difference,
        -- Exchanges round what was paid; the amount of coins they state in full.
        abs(ours.volume_quote - theirs.volume_quote) <= theirs.volume_quote * 0.00000001 as same_value
    from {{ ref('candle') }} as theirs
    left join {{ ref('ohlcv_' ~ interval) }} as ours
        on theirs.exchange = ours.exchange
            and theirs.market = ours.market
            and theirs.event_at = ours.bucket_at
    where theirs.interval = '{{ interval }}' and theirs.volume_base > 0
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)

select
    exchange,
    market,
    interval,
    bucket_at,
    our_close,
    their_close,
    our_volume_base,
    their_volume_base,
    our_volume_quote,
    their_volume_quote,
    trim_scale(volume_base_difference) as volume_base_difference,
    coalesce(same_prices and volume_base_difference = 0 and coalesce(same_value, true), false) as is_equal,
    case
        when
            same_prices and volume_base_difference = 0
            then case when coalesce(same_value, true) then 'equal' else 'value' end
        when our_volume_base is null then 'only_theirs'
        when volume_base_difference < 0 then 'ours_less'
        when volume_base_difference > 0 then 'ours_more'
        else 'prices'
    end as finding,
    case
        when same_prices and volume_base_difference = 0 and coalesce(same_value, true) then 'none'
        when bucket_at + width <= first_at then 'before_we_listened'
        when bucket_at < first_at + interval '4 hours' then 'began_within'
        when exists (
                select from {{ source('ops', 'gap') }} as gap
                where gap.exchange = compared.exchange
                    and gap.dataset = 'trade'
                    and (gap.market is null or gap.market = compared.market)
                    and gap.from_at < compared.bucket_at + width
                    and coalesce(gap.to_at, 'infinity') > compared.bucket_at
            )
            then 'gap'
        when volume_base_difference > 0 then 'their_bar_is_older'
        when bucket_at + width > latest_at + interval '1 minute' then 'not_loaded_yet'
        else 'unexplained'
    end as cause
from compared
cross join
    lateral (
        -- By the bars of four hours, which are kept for ever.
        select coalesce((
            select first_bar.bucket_at
            from {{ ref('ohlcv_4h') }} as first_bar
            where first_bar.exchange = compared.exchange and first_bar.market = compared.market
            order by first_bar.bucket_at
            limit 1
        ), 'infinity') as first_at
    ) as known
cross join lateral (
    select coalesce((
        select last_bar.bucket_at
        from {{ ref('ohlcv_1m') }} as last_bar
        where last_bar.exchange = compared.exchange and last_bar.market = compared.market
        order by last_bar.bucket_at desc
        limit 1
    ), '-infinity') as latest_at
) as newest
