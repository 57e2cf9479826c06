{#- Where the newest days of a mart begin (see the var test_look_back_days; 0: at the beginning). A bar that begins after
    now doesn't move them. -#}
{% macro newest_days(bars) %}
    {%- set days = var('test_look_back_days') %}
    select
        case
            when {{ days }} = 0 then '-infinity'::timestamptz
            else {{ floor_to('1 day', 'max(bucket_at)') }} - interval '{{ days }} days'
        end as from_at
    from {{ bars }}
    where bucket_at <= now()
{%- endmacro %}
