{#- An hour is held against the fourteen days before it. -#}
{%- set look_back = '14 days' -%}
{#- No spread of the logarithm counts as less than this: in a market of even volume every hour would stand out. -#}
{%- set least_spread = '0.1' -%}
{%- set rules = {
    'upstream': ['gold.ohlcv_1h', 'silver.candle'],
    'bucket': '1 hour',
    'look_back': look_back,
    'inputs': ['gold.ohlcv_1h'],
} -%}

{{
    config(
        meta = rules,
        indexes = bar_indexes(),
    )
}}

with

touched as (
    {{ touched_ranges('gold.volume_anomaly_1h', rules) }}
),

-- Where there is no bar of ours (the time before we listened) the exchange's own hour stands in as history.
observed as (
    select
        touched.exchange,
        touched.market,
        bar.*
    from touched
    inner join lateral (
        select
            bucket_at,
            volume_base,
            volume_quote,
            is_ours,
            ln(volume_base::double precision) as log_volume,
            count(*) over history as history_hours,
            avg(ln(volume_base::double precision)) over history as mean_log,
            stddev_samp(ln(volume_base::double precision)) over history as spread_log,
            array_agg(volume_base) over history as sample
        from (
            select
                bucket_at,
                volume_base,
                volume_quote,
                true as is_ours
            from {{ ref('ohlcv_1h') }} as ours
            where ours.exchange = touched.exchange
                and ours.market = touched.market
                and ours.bucket_at >= touched.from_at - interval '{{ look_back }}'
                and ours.bucket_at < touched.to_at
            union all
            select
                event_at,
                volume_base,
                volume_quote,
                false as is_ours
            from {{ ref('candle') }} as theirs
            where theirs.exchange = touched.exchange
                and theirs.market = touched.market
                and theirs.interval = '1h'
                and theirs.event_at >= touched.from_at - interval '{{ look_back }}'
                and theirs.event_at < touched.to_at
                and theirs.volume_base > 0
                and not exists (
                    select from {{ ref('ohlcv_1h') }} as ours
                    where ours.exchange = theirs.exchange
                        and ours.market = theirs.market
                        and ours.bucket_at = theirs.event_at
                )
        ) as hours
        window history as (
            order by bucket_at range between interval '{{ look_back }}' preceding and interval '1 hour' preceding
        )
    ) as bar on true
    where bar.bucket_at >= touched.from_at
        and bar.is_ours
        and bar.history_hours >= {{ var('volume_anomaly_min_hours') }}
),

measured as (
    select
        *,
        {{ rounded_score('(log_volume - mean_log) / greatest(spread_log, ' ~ least_spread ~ ')') }} as z
    from observed
),

-- High only: a quiet hour can't be told from one that isn't over.
suspects as (
    select
        measured.*,
        middle.median_volume_base,
        {{ ratio('volume_base', 'median_volume_base', 4) }} as ratio_to_median
    from measured
    inner join lateral (
        select percentile_disc(0.5) within group (order by value) as median_volume_base
        from unnest(measured.sample) as value
    ) as middle on true
    where z >= {{ var('volume_anomaly_z') }}
),

anomalies as (
    select
        exchange,
        market,
        bucket_at,
        volume_base,
        volume_quote,
        median_volume_base,
        ratio_to_median,
        z,
        history_hours,
        case
            when z >= 2 * {{ var('volume_anomaly_z') }} or ratio_to_median >= 4 * {{ var('volume_anomaly_ratio') }}
                then 'critical'
            else 'warning'
        end as severity
    from suspects
    where ratio_to_median >= {{ var('volume_anomaly_ratio') }}
)

select * from anomalies
