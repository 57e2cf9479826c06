{#-
    What is new: decided by marks that are set in the transaction which takes the rows, never by comparing
    timestamps. A load (silver) or a build (gold) is taken exactly once by each consumer.
-#}


{#- Marks the loads of a dataset that this model has not taken, for this transaction; returns how many. -#}
{% macro take_loads(relation, dataset) %}
    {% set query %}
        with taken as (
            insert into {{ source('ops', 'load_mark') }} (load_id, consumer)
            select ledger.load_id, '{{ consumer(relation) }}'
            from {{ source('ops', 'load_ledger') }} as ledger
            where ledger.dataset = '{{ dataset }}'
                and not exists (
                    select from {{ source('ops', 'load_mark') }} as mark
                    where mark.load_id = ledger.load_id and mark.consumer = '{{ consumer(relation) }}'
                )
            returning load_id
        )

        select count(*) from taken
    {% endset %}
    {{ return(scalar(query)) }}
{% endmacro %}


{#- The ids of the loads or builds that this transaction has marked. `marked_at` is the transaction's time: an id of
    another life of the database (restored from a dump) can't be taken for ours. -#}
{% macro taken_now(marks, id, consumer) %}
    select mark.{{ id }}
    from {{ marks }} as mark
    where mark.consumer = '{{ consumer }}'
        and mark.xid = pg_current_xact_id()
        and mark.marked_at = now()
{% endmacro %}


{#- Marks the builds that every upstream has done with and this model has not taken; returns how many.
    An upstream in silver has done with a build as soon as it wrote it, one in gold when it has marked it. -#}
{% macro take_builds(relation, upstream) %}
    {% set query %}
        with taken as (
            insert into {{ source('ops', 'build_mark') }} (build_id, consumer)
            select build.build_id, '{{ consumer(relation) }}'
            from {{ source('ops', 'build') }} as build
            where ({{ is_done_upstream(upstream) }})
                -- Changes wait while rows of a dataset that this model reads look wrong, and are taken once its gate is
                -- open again. What other datasets the exchange sends doesn't matter here.
                and not exists (
                    select from {{ source('ops', 'gate') }} as gate
                    where gate.exchange = build.exchange
                        and gate.status = 'red'
                        and (gate.dataset = build.dataset{{ ' or ' ~ reads_gated(upstream) if reads_gated(upstream) }})
                )
                and not exists (
                    select from {{ source('ops', 'build_mark') }} as mark
                    where mark.build_id = build.build_id and mark.consumer = '{{ consumer(relation) }}'
                )
            returning build_id
        )

        select count(*) from taken
    {% endset %}
    {{ return(scalar(query)) }}
{% endmacro %}


{#- The datasets of silver that a model reads itself, as a condition on the gate; empty where it reads none. -#}
{% macro reads_gated(upstream) -%}
    {%- set names = [] -%}
    {%- for name in upstream if name.startswith('silver.') -%}{%- do names.append(name.split('.')[1]) -%}{%- endfor -%}
    {%- if names -%}gate.dataset in ('{{ names | join("', '") }}'){%- endif -%}
{%- endmacro %}


{% macro is_done_upstream(upstream) %}
    {%- for name in upstream -%}
        {%- set schema, identifier = name.split('.') -%}
        {%- if schema == 'silver' -%}
            build.dataset = '{{ identifier }}'
        {%- else -%}
            exists (
                select from {{ source('ops', 'build_mark') }} as done
                where done.build_id = build.build_id and done.consumer = '{{ name }}'
            )
        {%- endif -%}
        {{- ' or ' if not loop.last -}}
    {%- endfor -%}
{% endmacro %}


{#-
    The stretches of event time that must be made anew: the touched minutes of the builds taken by this transaction,
    floored to the bucket, widened forward by the mart's look-back, neighbours joined. One row a stretch: the columns
    of the scope (see `scope_columns`), from_at (inclusive), to_at (exclusive).

    `rules` are those of the mart's config: bucket, look_back and, where they are not the usual ones, scope (series),
    origin (a time at which a bucket begins, for buckets that don't begin at 00:00 UTC),
    inputs (relations whose dropped past can't be read any more: what would have to be made from it is left as it stands,
    see `record_refusals`), rehydrates (this mart's own name: where its past has been dropped it is made anew by whole
    days, so that what is rolled up from it finds all of it).
-#}
{% macro touched_ranges(consumer, rules) %}
    {%- set series = scope_columns(rules.scope or 'series') -%}
    select
        {%- for name in series %}
        {{ name }},
        {%- endfor %}
        lower(span) as from_at,
        upper(span) as to_at
    from (
        select
            {%- for name in series %}
            {{ name }},
            {%- endfor %}
            unnest(range_agg(reach * {{ kept_since(rules) }})) as span
        from (
            {{ touched_reaches(consumer, rules, series) }}
        ) as reaches
        {%- if series %}
        group by {{ series | join(', ') }}
        {%- endif %}
    ) as spans
{% endmacro %}


{#- How far each touched stretch reaches. -#}
{% macro touched_reaches(consumer, rules, series) %}
    select distinct
        {%- for name in series %}
        touched.{{ name }},
        {%- endfor %}
        {%- set last = "touched.until_at - interval '1 microsecond'" %}
        {%- set reach %}tstzrange({{ floor_to(rules.bucket, 'touched.bucket_at', rules.origin) }}, {{ floor_to(rules.bucket, last, rules.origin) }} + interval '{{ rules.bucket }}' + interval '{{ rules.look_back }}'){% endset %}
        {%- if rules.rehydrates %}
        case
            when touched.bucket_at < {{ floor_of([rules.rehydrates]) }}
                then tstzrange({{ floor_to('1 day', 'touched.bucket_at') }}, {{ floor_to('1 day', last) }} + interval '1 day')
            else {{ reach }}
        end as reach
        {%- else %}
        {{ reach }} as reach
        {%- endif %}
    from {{ source('ops', 'touched_bucket') }} as touched
    where touched.build_id in ({{ taken_now(source('ops', 'build_mark'), 'build_id', consumer) }})
{% endmacro %}


{#- The time since which a mart can be made: all that it reads has been kept since then. Retention cuts at 00:00 UTC; a
    bucket that begins before the cut and ends after it can't be made whole. -#}
{% macro kept_since(rules) -%}
    {%- if rules.inputs and rules.origin -%}
        {%- set last = floor_of(rules.inputs) ~ " + interval '" ~ rules.bucket ~ "' - interval '1 microsecond'" -%}
        tstzrange({{ floor_to(rules.bucket, last, rules.origin) }} + interval '{{ rules.look_back }}', null)
    {%- elif rules.inputs -%}
        tstzrange({{ floor_of(rules.inputs) }} + interval '{{ rules.look_back }}', null)
    {%- else -%}
        tstzrange(null, null)
    {%- endif -%}
{%- endmacro %}


{#- From where on all of some relations is there; null where nothing of them has been dropped. -#}
{% macro floor_of(relations) -%}
    (select max(retention.floor_at) from {{ source('ops', 'retention') }} as retention where retention.relation in ('{{ relations | join("', '") }}'))
{%- endmacro %}


{#- Writes down which changes a mart doesn't follow, because what it would be made from has been dropped. -#}
{% macro record_refusals(target, rules) %}
    {% set query %}
        insert into {{ source('ops', 'refusal') }} (consumer, exchange, market, from_at, to_at, reason)
        select
            '{{ consumer(target) }}',
            exchange,
            market,
            lower(span),
            upper(span),
            '{{ rules.inputs | join(", ") }} is kept since ' || {{ floor_of(rules.inputs) }}
        from (
            select exchange, market, unnest(range_agg(reach) - multirange({{ kept_since(rules) }})) as span
            from ({{ touched_reaches(consumer(target), rules, ['exchange', 'market']) }}) as reaches
            group by exchange, market
        ) as spans
    {% endset %}
    {% do run_query(query) %}
{% endmacro %}


{#-
    What a change of one market can change in a mart:
      series       rows of that market;
      exchange     rows of any market of its exchange (a mart that ranks or pairs markets);
      everything   rows of any exchange (a mart that holds one exchange against another).
-#}
{% macro scope_columns(scope) %}
    {{- return({'series': ['exchange', 'market'], 'exchange': ['exchange'], 'everything': []}[scope]) -}}
{% endmacro %}


{#- The start of the bucket that a time lies in; buckets are counted from 00:00 UTC, or from `origin`. -#}
{% macro floor_to(bucket, time, origin=none) -%}
    date_bin(interval '{{ bucket }}', {{ time }}, timestamptz '{{ origin or '2000-01-01 00:00:00+00' }}')
{%- endmacro %}


{#- Tells gold, exchange by exchange, which minutes of event time a change of silver touched; `rows` yields exchange, market, event_at. -#}
{% macro record_build(dataset, rows) %}
    {% set query %}
        with changed as (
            select distinct exchange, market, {{ floor_to('1 minute', 'event_at') }} as bucket_at
            from ({{ rows }}) as changed_rows
        ),

        build as (
            insert into {{ source('ops', 'build') }} (dataset, exchange)
            select distinct '{{ dataset }}', exchange from changed
            returning build_id, exchange
        )

        insert into {{ source('ops', 'touched_bucket') }} (build_id, exchange, market, bucket_at, until_at)
        select build.build_id, changed.exchange, changed.market, changed.bucket_at, changed.bucket_at + interval '1 minute'
        from build inner join changed on build.exchange = changed.exchange
    {% endset %}
    {% do run_query(query) %}
{% endmacro %}
