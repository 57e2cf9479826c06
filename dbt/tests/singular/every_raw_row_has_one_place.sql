-- Identity 3: for each exchange, dataset and event hour, to the row,
-- raw = silver + duplicate + superseded + quarantine.
-- Raw counts as far as silver has taken it; rows whose event has no plausible time count in the hour
-- they were received.
{% set look_back_days = var('test_look_back_days') %}
{% for dataset in ['market', 'trade', 'ticker', 'orderbook', 'candle', 'snapshot'] %}
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

    taken as (
        select load_id
        from {{ source('ops', 'load_mark') }}
        where consumer = 'silver.{{ dataset }}'
    ),

    -- A raw row counts 1, its place -1: whatever doesn't add up to 0 is lost or doubled.
    sides as (
        select
            raw.exchange,
            {{ contract_counted_at() }} as happened_at,
            1 as side
        from {{ source('raw', dataset ~ '_v1') }} as raw
        where raw.load_id in (select taken.load_id from taken)
        union all
        select
            silver.exchange,
            silver.event_at as happened_at,
            -1 as side
        from {{ ref(dataset) }} as silver
        {% for account, time in [('duplicate', 'event_at'), ('superseded', 'event_at'), ('quarantine', 'hour_at')] %}
        union all
        select
            account.exchange,
            account.{{ time }} as happened_at,
            -1 as side
        from {{ source('accounts', account) }} as account
        where account.dataset = '{{ dataset }}'
        {% endfor %}
    )

    select
        '{{ dataset }}' as dataset,
        exchange,
        date_trunc('hour', happened_at) as hour_at,
        sum(side) as surplus
    from sides
    where happened_at >= (select bound.from_at from bound)
    group by exchange, date_trunc('hour', happened_at)
    having sum(side) <> 0
)
{{ 'union all' if not loop.last }}
{% endfor %}
