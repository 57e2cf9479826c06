-- Identity 3: for each exchange, dataset and event hour, raw = silver + duplicate + superseded + quarantine, to the row.
-- Raw counts as far as silver has taken it; rows whose event has no time count in the hour they were received.
{% set look_back_days = var('test_look_back_days') %}
{% for dataset in ['market', 'trade', 'ticker', 'orderbook', 'candle'] %}
(
    with

    bound as (
        select
            case
                when {{ look_back_days }} = 0 then '-infinity'::timestamptz
                else date_trunc('hour', max(received_at)) - interval '{{ look_back_days }} days'
            end as from_at
        from {{ source('raw', dataset ~ '_v1') }}
    ),

    received as (
        select exchange, date_trunc('hour', coalesce(event_at, received_at)) as hour_at, count(*) as received_rows
        from {{ source('raw', dataset ~ '_v1') }}
        where load_id in (
            select mark.load_id from {{ source('ops', 'load_mark') }} as mark where mark.consumer = 'silver.{{ dataset }}'
        )
        group by 1, 2
    ),

    placed as (
        select exchange, hour_at, count(*) as placed_rows
        from (
            select exchange, date_trunc('hour', event_at) as hour_at from {{ ref(dataset) }}
            union all
            select exchange, date_trunc('hour', event_at) from {{ source('accounts', 'duplicate') }} where dataset = '{{ dataset }}'
            union all
            select exchange, date_trunc('hour', event_at) from {{ source('accounts', 'superseded') }} where dataset = '{{ dataset }}'
            union all
            select exchange, hour_at from {{ source('accounts', 'quarantine') }} where dataset = '{{ dataset }}'
        ) as places
        group by 1, 2
    )

    select
        '{{ dataset }}' as dataset,
        coalesce(received.exchange, placed.exchange) as exchange,
        coalesce(received.hour_at, placed.hour_at) as hour_at,
        received_rows,
        placed_rows
    from received
    full join placed
        on coalesce(received.exchange, '') = coalesce(placed.exchange, '')
        and received.hour_at = placed.hour_at
    cross join bound
    where received_rows is distinct from placed_rows
        and coalesce(received.hour_at, placed.hour_at) >= bound.from_at
)
{{ 'union all' if not loop.last }}
{% endfor %}
