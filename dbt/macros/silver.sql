{#-
    Strategy of silver: one row an event, every other raw row in an account.

    The loads not yet taken are marked; the model's SQL judges their rows (macros/judge.sql) into a temporary table;
    winners replace what they displace; losers are booked (macros/accounts.sql); the touched minutes are told to gold.
    The model's config names, under meta: natural_key, content, loser, and whether it knows markets.
-#}
{% macro apply_judgement(target, sql, created) %}
    {%- set dataset = target.identifier -%}
    {%- set judged = 'judged_' ~ dataset -%}
    {%- set rules = config.get('meta') -%}
    {% if created %}
        {% do forget_judgements(target, dataset) %}
    {% endif %}
    {% if rules.markets %}
        {% do refuse_unlisted(target, dataset) %}
    {% endif %}
    {% if take_loads(target, dataset) or (rules.markets and awaits_release(dataset)) %}
        {% do get_assert_columns_equivalent('select ' ~ contracted_columns() ~ ' from (' ~ sql ~ ') as judged') %}
        {% do run_query('create temporary table ' ~ judged ~ ' on commit drop as (' ~ sql ~ ')') %}
        {% do release(judged, dataset) %}
        {% if replace_displaced(target, judged, rules) %}
            {% do rebook(judged, dataset, rules) %}
        {% endif %}
        {% call statement('main') %}
            insert into {{ target }} ({{ contracted_columns() }})
            select {{ contracted_columns() }} from {{ judged }} where outcome = 'kept'
        {% endcall %}
        {% do book_losers(judged, dataset, rules) %}
        {% do record_build(dataset, 'select exchange, market, event_at from ' ~ judged ~ " where outcome = 'kept' or is_held") %}
    {% else %}
        {% do nothing_new() %}
    {% endif %}
{% endmacro %}


{#- A new table starts from nothing: every load will be judged again, so what was booked before goes. -#}
{% macro forget_judgements(target, dataset) %}
    {% do run_query("delete from " ~ source('ops', 'load_mark') ~ " where consumer = '" ~ consumer(target) ~ "'") %}
    {% for account in ['duplicate', 'superseded', 'quarantine'] %}
        {% do run_query("delete from " ~ source('accounts', account) ~ " where dataset = '" ~ dataset ~ "'") %}
    {% endfor %}
{% endmacro %}


{% macro awaits_release(dataset) %}
    {{ return(scalar('select exists (' ~ listed_by_now(dataset, ref('market')) ~ ')')) }}
{% endmacro %}


{#- Takes the displaced rows out of silver; True where any lost to another content. -#}
{% macro replace_displaced(target, judged, rules) %}
    {% set query %}
        with displaced as (
            delete from {{ target }} as held
            using {{ judged }} as judged
            where judged.is_held
                {%- for name in rules.natural_key %}
                and held.{{ name }} = judged.{{ name }}
                {%- endfor %}
            returning judged.outcome
        )

        select count(*) filter (where outcome = '{{ rules.loser }}') > 0 from displaced
    {% endset %}
    {{ return(scalar(query)) }}
{% endmacro %}


{#-
    Rows that came before their exchange's first list of markets, of markets that no list has: they are refused now,
    as they would have been had they come after it.
-#}
{% macro refuse_unlisted(target, dataset) %}
    {% set strays = run_query(unlisted_markets(target)) %}
    {% if strays.rows %}
        {% set refused = 'refused_' ~ dataset %}
        {% do run_query('create temporary table ' ~ refused ~ ' on commit drop as ' ~ rows_of(target, dataset, strays)) %}
        {% for relation in [target, source('accounts', 'duplicate'), source('accounts', 'superseded'), source('accounts', 'quarantine')] %}
            {% set query %}
                delete from {{ relation }} as account
                using {{ refused }} as refused
                where {{ same_row('account', 'refused') }} and account.exchange = refused.exchange
                    {% if relation != target %}and account.dataset = '{{ dataset }}'{% endif %}
            {% endset %}
            {% do run_query(query) %}
        {% endfor %}
        {% do quarantine("select refused.*, 'unknown_market' as outcome, null as natural_key, null as account_hash from " ~ refused ~ ' as refused', dataset) %}
        {% do record_build(dataset, 'select exchange, market, event_at from ' ~ refused ~ ' where is_held') %}
    {% endif %}
{% endmacro %}


{#- The markets in silver that no list of their exchange has. -#}
{% macro unlisted_markets(target) %}
    select exchange, market
    from ({{ series_of(target) }}) as held
    where exchange in (select listing.exchange from {{ ref('market') }} as listing)
        and (exchange, market) not in (select listing.exchange, listing.market from {{ ref('market') }} as listing)
{% endmacro %}


{#- Every raw row of some markets that is in silver or was booked as a loser there. -#}
{% macro rows_of(target, dataset, markets) %}
    {%- set key = (['load_id', 'source', 'received_at', 'exchange', 'market', 'event_at'] + contract_row_key()) | join(', ') -%}
    {%- set listed = [] -%}
    {%- for row in markets.rows -%}
        {%- do listed.append("('" ~ row[0] | replace("'", "''") ~ "', '" ~ row[1] | replace("'", "''") ~ "')") -%}
    {%- endfor -%}
    {%- set is_stray = '(exchange, market) in (' ~ listed | join(', ') ~ ')' -%}
    select {{ key }}, true as is_held from {{ target }} where {{ is_stray }}
    {%- for account in ['duplicate', 'superseded'] %}
    union all
    select {{ key }}, false from {{ source('accounts', account) }} where dataset = '{{ dataset }}' and {{ is_stray }}
    {%- endfor %}
    union all
    select {{ key }}, false from {{ source('accounts', 'quarantine') }}
    where dataset = '{{ dataset }}' and reason = 'conflict' and {{ is_stray }}
{% endmacro %}
