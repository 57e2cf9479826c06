{#- A score looks at the returns of the hour before, and each of those at a bar at most an hour before it. -#}
{%- set look_back = '2 hours' -%}
{#- Prices that hardly move would make any tick an anomaly: no spread counts as less than two basis points. -#}
{%- set least_spread = '0.0002' -%}
{%- set rules = {
    'upstream': ['gold.ohlcv_1m'],
    'bucket': '1 minute',
    'look_back': look_back,
    'inputs': ['gold.ohlcv_1m'],
} -%}

{{
    config(
        meta = rules,
        indexes = bar_indexes(),
    )
}}

with

touched as (
    {{ touched_ranges('gold.price_anomaly_1m', rules) }}
),

-- Scores are statistics, not money: double precision.
observed as (
    select
        touched.exchange,
        touched.market,
        bar.*
    from touched
    inner join lateral (
        select
            bucket_at,
            close,
            previous_close,
            log_return,
            count(log_return) over hour_before as returns,
            avg(log_return) over hour_before as mean_return,
            stddev_samp(log_return) over hour_before as spread,
            array_agg(log_return) over hour_before as sample,
            sum(close) over five_minutes_before as sum_close,
            count(close) over five_minutes_before as closes
        from (
            select
                bucket_at,
                close,
                case when is_near then previous_close end as previous_close,
                case when is_near then ln((close / previous_close)::double precision) end as log_return
            from (
                select
                    bucket_at,
                    close,
                    lag(close) over in_time as previous_close,
                    bucket_at - lag(bucket_at) over in_time <= interval '1 hour' as is_near
                from {{ ref('ohlcv_1m') }} as ohlcv
                where ohlcv.exchange = touched.exchange
                    and ohlcv.market = touched.market
                    and ohlcv.bucket_at >= touched.from_at - interval '{{ look_back }}'
                    and ohlcv.bucket_at < touched.to_at
                window in_time as (order by bucket_at)
            ) as followed
        ) as bars
        window
            hour_before as (
                order by bucket_at range between interval '1 hour' preceding and interval '1 minute' preceding
            ),
            five_minutes_before as (
                order by bucket_at range between interval '5 minutes' preceding and interval '1 minute' preceding
            )
    ) as bar on true
    where bar.bucket_at >= touched.from_at
),

measured as (
    select
        *,
        {{ ratio('close - previous_close', 'previous_close', 8) }} as return,
        {{ ratio('close * closes - sum_close', 'sum_close', 8) }} as deviation_from_5m_mean,
        case
            when returns >= {{ var('price_anomaly_min_bars') }}
                then {{ rounded_score('(log_return - mean_return) / greatest(spread, ' ~ least_spread ~ ')') }}
        end as z
    from observed
),

suspects as (
    select
        *,
        abs(deviation_from_5m_mean) >= {{ var('price_anomaly_deviation') }} as is_far_from_mean
    from measured
    where (abs(z) >= {{ var('price_anomaly_z') }} and abs(return) >= {{ var('price_anomaly_min_return') }})
        or abs(deviation_from_5m_mean) >= {{ var('price_anomaly_deviation') }}
),

-- The median and the median distance from it don't let one earlier jump hide the next, as mean and deviation do.
scored as (
    select
        suspects.*,
        case
            when suspects.z is not null
                then {{ rounded_score('(log_return - median) / greatest(1.4826 * distance, ' ~ least_spread ~ ')') }}
        end as mad_score
    from suspects
    inner join lateral (
        select percentile_cont(0.5) within group (order by value) as median
        from unnest(suspects.sample) as value
    ) as middle on true
    inner join lateral (
        select percentile_cont(0.5) within group (order by abs(value - middle.median)) as distance
        from unnest(suspects.sample) as value
    ) as around on true
),

judged as (
    select
        *,
        coalesce(
            abs(z) >= {{ var('price_anomaly_z') }}
            and abs(mad_score) >= {{ var('price_anomaly_mad') }}
            and abs(return) >= {{ var('price_anomaly_min_return') }},
            false
        ) as is_jump
    from scored
),

directed as (
    select
        *,
        case when is_jump then return else deviation_from_5m_mean end as direction
    from judged
    where is_jump or is_far_from_mean
),

anomalies as (
    select
        exchange,
        market,
        bucket_at,
        close,
        previous_close,
        return,
        z,
        mad_score,
        deviation_from_5m_mean,
        case when direction > 0 then 'up' else 'down' end as direction,
        case when is_jump and is_far_from_mean then 'both' when is_jump then 'return' else 'mean' end as detected_by,
        case
            when is_jump and abs(z) >= 2 * {{ var('price_anomaly_z') }} then 'critical'
            when abs(deviation_from_5m_mean) >= 2 * {{ var('price_anomaly_deviation') }} then 'critical'
            else 'warning'
        end as severity
    from directed
)

select * from anomalies
