{%- set natural_key = ['exchange', 'market', 'trade_id'] -%}
{%- set content = ['event_at', 'price', 'size', 'side'] -%}
{%- set columns = contract_fields('trade').keys() | list + contract_envelope() -%}
{%- set spans = 'coalesce(first_trade_id < last_trade_id and last_trade_id = trade_id, false)' -%}

{{
    config(
        meta = {'natural_key': natural_key, 'content': content, 'loser': 'conflict', 'markets': 'silver.market'},
        indexes = [
            {'columns': natural_key, 'unique': true},
            {'columns': ['exchange', 'market', 'event_at']},
        ],
    )
}}

with

arrived as (
    {{ arrived(source('raw', 'trade_v1'), 'trade', ref('market')) }}
),

sized as (
    {{ sized('arrived', columns) }}
),

normalised as (
    select
        {{ normalised('trade') }},
        {{ violation('trade', ref('market')) }} as violation
    from sized
),

-- A socket's row may sum up what one taker got at one price, and then stands for several ids, its own the last of them.
-- REST has each of them as a row of its own: they are duplicates of the sum, whichever came first. No sum is longer
-- than 100,000 ids.
rest_ids as (
    select
        exchange,
        market,
        min(trade_id) as least,
        max(trade_id) as greatest
    from normalised
    where source = 'rest' and violation is null
    group by exchange, market
),

sums as (
    select
        exchange,
        market,
        first_trade_id,
        last_trade_id
    from normalised
    where {{ spans }} and violation is null
    union
    select
        held.exchange,
        held.market,
        held.first_trade_id,
        held.last_trade_id
    from rest_ids
    inner join {{ this }} as held
        on rest_ids.exchange = held.exchange
            and rest_ids.market = held.market
            and held.trade_id between rest_ids.least and rest_ids.greatest + 100000
            and held.first_trade_id < held.last_trade_id
            and held.last_trade_id = held.trade_id
),

covered as (
    select
        exchange,
        market,
        covered_id,
        min(last_trade_id) as sum_id
    from sums
    cross join generate_series(first_trade_id, last_trade_id) as ids (covered_id)
    group by exchange, market, covered_id
),

gathered as (
    select
        normalised.*,
        coalesce(covered.sum_id, normalised.trade_id) as sum_id
    from normalised
    left join covered
        on normalised.exchange = covered.exchange
            and normalised.market = covered.market
            and normalised.trade_id = covered.covered_id
),

wanted as (
    select
        exchange,
        market,
        trade_id
    from normalised
    where violation is null
    union all
    select
        exchange,
        market,
        covered_id
    from covered
),

held as (
    select
        held.*,
        coalesce(covered.sum_id, held.trade_id) as sum_id
    from {{ this }} as held
    left join covered
        on held.exchange = covered.exchange
            and held.market = covered.market
            and held.trade_id = covered.covered_id
    where (held.exchange, held.market, held.trade_id) in (
            select
                wanted.exchange,
                wanted.market,
                wanted.trade_id
            from wanted
        )
),

-- The socket's row before REST's: it carries more.
judged as (
    {{
        judge(
            'gathered', columns, natural_key, [spans ~ ' desc', "(source = 'ws') desc"], content, 'conflict',
            ['exchange', 'market', 'sum_id'], 'held', spans
        )
    }}
)

select * from judged
