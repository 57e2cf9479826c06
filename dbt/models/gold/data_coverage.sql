{#- A view of the books: what was proven of each hour, and what share of it was listened to. -#}
{{ config(materialized = 'lasting_view') }}

with

hours as (
    select
        exchange,
        dataset,
        hour_at,
        count(*) filter (where status = 'green') as green_checks,
        count(*) filter (where status = 'red') as red_checks,
        count(*) filter (where status = 'open') as open_checks,
        array_agg(identity order by identity) filter (where status = 'red') as red_identities,
        max(checked_at) as checked_at
    from {{ source('ops', 'completeness') }}
    group by exchange, dataset, hour_at
)

select
    hours.exchange,
    hours.dataset,
    hours.hour_at as bucket_at,
    state.state,
    case state.state when 'red' then 'red' when 'green' then 'green' else 'open' end as status,
    state.state = 'green' and gaps.seconds = 0 as is_complete,
    trim_scale(round(1 - gaps.seconds / 3600, 6)) as share_complete,
    trim_scale(round(gaps.seconds, 3)) as gap_seconds,
    gaps.unsettled as unsettled_gaps,
    gaps.repaired as repaired_gaps,
    green_checks,
    red_checks,
    open_checks,
    coalesce(red_identities, '{}') as red_identities,
    checked_at
from hours
cross join
    lateral (
        select
            coalesce(
                min(known.state),
                -- The connections themselves have no rows to account for.
                case when hours.red_checks > 0 then 'red' when hours.open_checks > 0 then 'unchecked' else 'green' end
            ) as state
        from {{ source('ops', 'hour_state') }} as known
        where known.exchange = hours.exchange
            and known.dataset = hours.dataset
            and known.hour_at = hours.hour_at
            and hours.dataset <> 'system'
    ) as state
cross join lateral (
    select
        count(*) filter (where gap.state in ('open', 'not_served')) as unsettled,
        count(*) filter (where gap.state in ('repaired', 'nothing_missing')) as repaired,
        coalesce((
            -- Gaps of several markets may overlap: an instant that any of them lies in counts once.
            select sum(extract(epoch from upper(part) - lower(part)))
            from (
                select
                    unnest(range_agg(
                        tstzrange(missing.from_at, coalesce(missing.to_at, 'infinity'))
                        * tstzrange(hours.hour_at, hours.hour_at + interval '1 hour')
                    )) as part
                from {{ source('ops', 'gap') }} as missing
                where missing.exchange = hours.exchange
                    and missing.dataset = hours.dataset
                    and missing.state in ('open', 'not_served')
                    and missing.from_at < hours.hour_at + interval '1 hour'
                    and coalesce(missing.to_at, 'infinity') > hours.hour_at
            ) as parts
        ), 0) as seconds
    from {{ source('ops', 'gap') }} as gap
    where gap.exchange = hours.exchange
        and gap.dataset = hours.dataset
        and gap.from_at < hours.hour_at + interval '1 hour'
        and coalesce(gap.to_at, 'infinity') > hours.hour_at
) as gaps
