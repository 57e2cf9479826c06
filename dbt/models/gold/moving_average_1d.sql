{#- The longest average reaches back 119 days; a crossing looks at the bar before, at most five days away. -#}
{%- set look_back = '125 days' -%}
{%- set widths = [5, 20, 60, 120] -%}
{%- set crossings = [(5, 20), (20, 60), (60, 120)] -%}
{%- set rules = {
    'upstream': ['gold.ohlcv_1d', 'silver.candle'],
    'bucket': '1 day',
    'look_back': look_back,
} -%}

{{
    config(
        meta = rules,
        indexes = bar_indexes(),
    )
}}

with

touched as (
    {{ touched_ranges('gold.moving_average_1d', rules) }}
),

-- A day on which nothing traded is left out of a mean; with fewer than nine tenths of its days there is none.
averaged as (
    select
        touched.exchange,
        touched.market,
        touched.from_at,
        day.bucket_at,
        day.close,
        {%- for width in widths %}
        case
            when count(*) over days_{{ width }} >= {{ (width * 0.9) | round(0, 'ceil') | int }}
                then {{ mean('day.close', 12, 'days_' ~ width) }}
        end as ma_{{ width }},
        {%- endfor %}
        day.is_ours
    from touched
    inner join {{ ref('history_1d') }} as day
        on touched.exchange = day.exchange
            and touched.market = day.market
            and day.bucket_at >= touched.from_at - interval '{{ look_back }}'
            and touched.to_at > day.bucket_at
    window
    {%- for width in widths %}
    days_{{ width }} as (
        partition by touched.exchange, touched.market, touched.from_at
        order by day.bucket_at range between interval '{{ width - 1 }} days' preceding and current row
    ){{ ',' if not loop.last }}
    {%- endfor %}
),

followed as (
    select
        *,
    {%- for width in widths %}
    case when is_near then lag(ma_{{ width }}) over in_time end as ma_{{ width }}_before{{ ',' if not loop.last }}
    {%- endfor %}
    from (
        select
            *,
            bucket_at - lag(bucket_at) over (
                partition by exchange, market, from_at order by bucket_at
            ) <= interval '5 days' as is_near
        from averaged
    ) as spaced
    window in_time as (partition by exchange, market, from_at order by bucket_at)
),

days as (
    select
        exchange,
        market,
        bucket_at,
        close,
        {%- for width in widths %}
        ma_{{ width }},
        {%- endfor %}
        {%- for short, long in crossings %}
        case
            when ma_{{ short }}_before <= ma_{{ long }}_before and ma_{{ short }} > ma_{{ long }} then 'golden'
            when ma_{{ short }}_before >= ma_{{ long }}_before and ma_{{ short }} < ma_{{ long }} then 'dead'
        end as cross_{{ short }}_{{ long }},
        {%- endfor %}
        is_ours
    from followed
    where bucket_at >= from_at
)

select * from days
