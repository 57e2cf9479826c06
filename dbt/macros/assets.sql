{#-
    Which asset a market is of. A market's letters do not say it: TON is one token at one exchange and another elsewhere,
    META is a share or a coin, 1000PEPE is a thousand PEPE. Identity is (exchange, kind, base), corrected by
    `ops.asset_override`.
-#}


{#-
    One row a market of `markets` (a relation or CTE with exchange and market) and stretch of time:
      asset        what is traded, the same text wherever it is the same thing of the same kind;
      multiplier   how many of the asset one base is (1000PEPE: 1000), so price / multiplier is the asset's price;
      kind         coin, equity, commodity, fx, bond, index, premarket or other, by the exchange's list; coin where no
                   list says otherwise;
      instrument   spot, swap (a perpetual), future (dated) or option, by the list; null where no list has the market;
      valid_from   (inclusive), valid_to (exclusive): the time for which it holds.
    A base is what the list says, or the market's first part where no list has it. A number in front of a base is a
    multiplier where letters follow it (1000SATS, 1MBABYDOGE; not 1INCH).
-#}
{% macro assets(markets) %}
    {%- set number = "'^(1000000|1000|1M)(?=[A-Z])'" -%}
    select
        named.exchange,
        named.market,
        named.instrument,
        named.base,
        named.quote,
        coalesce(ruled.asset, regexp_replace(named.base, {{ number }}, '')) as asset,
        coalesce(
            ruled.multiplier,
            case substring(named.base from {{ number }}) when '1000000' then 1000000 when '1M' then 1000000 when '1000' then 1000 else 1 end
        ) as multiplier,
        coalesce(ruled.kind, named.underlying_kind, 'coin') as kind,
        stretch.valid_from,
        stretch.valid_to
    from (
        select
            markets.exchange,
            markets.market,
            listing.instrument,
            coalesce(listing.base, split_part(markets.market, '-', 1)) as base,
            coalesce(listing.quote, split_part(markets.market, '-', 2)) as quote,
            listing.underlying_kind
        from {{ markets }} as markets
        left join {{ ref('market') }} as listing
            on markets.exchange = listing.exchange and markets.market = listing.market
    ) as named
    -- Time with an override, and the time around it.
    cross join lateral (
        select bound as valid_from, lead(bound) over (order by bound) as valid_to
        from (
            select timestamptz '-infinity' as bound
            union
            select timestamptz 'infinity'
            union
            select unnest(array[override.valid_from, override.valid_to])
            from {{ source('ops', 'asset_override') }} as override
            where override.exchange = named.exchange and override.base = named.base
        ) as bounds
    ) as stretch
    left join {{ source('ops', 'asset_override') }} as ruled
        on named.exchange = ruled.exchange
            and named.base = ruled.base
            and stretch.valid_from >= ruled.valid_from
            and stretch.valid_from < ruled.valid_to
    where stretch.valid_to is not null
{% endmacro %}
