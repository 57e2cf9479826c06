{#-
    What a coin costs in won over what it costs in Tether elsewhere, for gold.kimchi_premium_1m and, with what is left
    out there, gold.suspect_premium_1m. `rules` are those of the model's config, `name` is the model's.

    Only coins take part, and only where both markets are of one asset. A second guard finds what no list and no override
    says: the premium of a pair is held against the middle of all premiums of the same two exchanges in that minute, so a
    premium that all coins share, however large, makes no pair suspect (in January 2018 it was above 50 %). A pair is
    suspect
      at once        where its price is more than twice, or less than half, of what the middle premium would make it:
                     another unit (a thousand coins, a tenth) or another asset;
      for an hour    where it lay more than 30 % off in each of its minutes of the last hour, over 50 minutes at least. A
                     coin whose deposits are closed may do that too: it is left out of the premiums then, and listed.
    With fewer than five pairs there is no middle worth the name, and 0 is taken.
-#}
{% macro premiums(name, rules, is_suspect) %}
    {%- set age = '5 minutes' -%}
    with

    touched as (
        {{ touched_ranges(name, rules) }}
    ),

    -- Every bar that can take part: prices in won, and prices in Tether.
    traded as (
        select
            bar.exchange,
            bar.market,
            bar.bucket_at,
            bar.close,
            touched.from_at
        from touched
        inner join {{ ref('ohlcv_1m') }} as bar
            on bar.bucket_at >= touched.from_at - interval '{{ rules.look_back }}'
                and touched.to_at > bar.bucket_at
        where bar.market like '%-KRW' or bar.market like '%-USDT'
    ),

    markets as (
        select distinct exchange, market from traded
    ),

    assets as (
        {{ assets('markets') }}
    ),

    bars as (
        select
            traded.*,
            assets.asset,
            assets.multiplier,
            assets.quote,
            assets.kind,
            assets.instrument
        from traded
        inner join assets
            on traded.exchange = assets.exchange
                and traded.market = assets.market
                and traded.bucket_at >= assets.valid_from
                and traded.bucket_at < assets.valid_to
        where assets.kind = 'coin'
    ),

    -- A close holds until the next, for at most the look-back: one row for each minute in which it does.
    held as (
        select
            bars.*,
            bars.bucket_at as closed_at,
            minute.at as minute_at
        from (
            select
                *,
                lead(bucket_at) over (partition by from_at, exchange, market order by bucket_at) as next_at
            from bars
        ) as bars
        cross join
            lateral generate_series(
                bars.bucket_at,
                least(bars.bucket_at + interval '{{ age }}', bars.next_at - interval '1 minute'),
                interval '1 minute'
            ) as minute (at)
        where bars.quote = 'USDT' or bars.market = 'USDT-KRW'
    ),

    -- One counter market an exchange and asset: the coin itself before a thousand of it.
    counters as (
        select *
        from (
            select
                *,
                row_number() over (
                    partition by from_at, exchange, asset, minute_at order by multiplier, market
                ) as place
            from held
            where quote = 'USDT'
        ) as ranked
        where place = 1
    ),

    premiums as (
        select
            won.from_at,
            won.exchange,
            won.market,
            dollar.exchange as counter_exchange,
            dollar.market as counter_market,
            won.bucket_at,
            won.close as price,
            dollar.close as counter_price,
            rate.close as rate,
            {{ ratio('dollar.close * won.multiplier * rate.close', 'dollar.multiplier', 8) }} as counter_price_in_won,
            {{ ratio(
                'won.close * dollar.multiplier - dollar.close * won.multiplier * rate.close',
                '(dollar.close * won.multiplier * rate.close)',
                8
            ) }} as premium,
            (extract(epoch from won.bucket_at - dollar.closed_at) / 60)::integer as counter_age_minutes,
            (extract(epoch from won.bucket_at - rate.closed_at) / 60)::integer as rate_age_minutes,
            won.asset,
            trim_scale(dollar.multiplier / won.multiplier) as counter_multiplier,
            dollar.instrument as counter_instrument
        from bars as won
        inner join held as rate
            on won.from_at = rate.from_at
                and won.exchange = rate.exchange
                and rate.market = 'USDT-KRW'
                and won.bucket_at = rate.minute_at
        inner join counters as dollar
            on won.from_at = dollar.from_at
                and won.asset = dollar.asset
                and won.exchange <> dollar.exchange
                and won.bucket_at = dollar.minute_at
        where won.quote = 'KRW' and won.asset <> 'USDT'
    ),

    middles as (
        select
            from_at,
            exchange,
            counter_exchange,
            bucket_at,
            case
                when count(*) >= 5 then percentile_cont(0.5) within group (order by premium::double precision)
                else 0
            end as middle
        from premiums
        group by from_at, exchange, counter_exchange, bucket_at
    ),

    judged as (
        select
            premiums.*,
            round(middles.middle::numeric, 8) as middle_premium,
            (1 + premiums.premium) / (1 + middles.middle::numeric) not between 0.5 and 2 as is_another_unit,
            bool_and(
                abs((1 + premiums.premium) / (1 + middles.middle::numeric) - 1) > 0.3
            ) over of_an_hour
            and premiums.bucket_at - min(premiums.bucket_at) over of_an_hour >= interval '50 minutes' as is_far_off
        from premiums
        inner join middles using (from_at, exchange, counter_exchange, bucket_at)
        window of_an_hour as (
            partition by premiums.from_at, premiums.exchange, premiums.market, premiums.counter_exchange
            order by premiums.bucket_at range between interval '59 minutes' preceding and current row
        )
    )

    select
        {%- if is_suspect %}
        case when is_another_unit then 'another unit or asset' else 'far off for an hour' end as reason,
        middle_premium,
        {%- endif %}
        exchange, market, counter_exchange, counter_market, bucket_at, price, counter_price, rate, counter_price_in_won,
        premium, counter_age_minutes, rate_age_minutes, asset, counter_multiplier, counter_instrument
    from judged
    where bucket_at >= from_at and {{ '' if is_suspect else 'not ' }}(is_another_unit or is_far_off)
{% endmacro %}
