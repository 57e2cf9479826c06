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
-#}
{% macro touched_ranges(consumer, bucket, look_back='0', scope='series') %}
    {%- set series = scope_columns(scope) -%}
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
            unnest(range_agg(tstzrange(
                bucket_at, bucket_at + interval '{{ bucket }}' + interval '{{ look_back }}'
            ))) as span
        from (
            select distinct
                {%- for name in series %}
                touched.{{ name }},
                {%- endfor %}
                {{ floor_to(bucket, 'touched.bucket_at') }} as bucket_at
            from {{ source('ops', 'touched_bucket') }} as touched
            where touched.build_id in ({{ taken_now(source('ops', 'build_mark'), 'build_id', consumer) }})
        ) as buckets
        {%- if series %}
        group by {{ series | join(', ') }}
        {%- endif %}
    ) as spans
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


{#- The start of the bucket that a time lies in; buckets are counted from 00:00 UTC. -#}
{% macro floor_to(bucket, time) -%}
    date_bin(interval '{{ bucket }}', {{ time }}, timestamptz '2000-01-01 00:00:00+00')
{%- endmacro %}


{#- Tells gold which minutes of event time a change of silver touched; `rows` yields exchange, market, event_at. -#}
{% macro record_build(dataset, rows) %}
    {% set query %}
        with changed as (
            select distinct exchange, market, {{ floor_to('1 minute', 'event_at') }} as bucket_at
            from ({{ rows }}) as changed_rows
        ),

        build as (
            insert into {{ source('ops', 'build') }} (dataset)
            select '{{ dataset }}' where exists (select from changed)
            returning build_id
        )

        insert into {{ source('ops', 'touched_bucket') }} (build_id, exchange, market, bucket_at)
        select build.build_id, changed.exchange, changed.market, changed.bucket_at
        from build cross join changed
    {% endset %}
    {% do run_query(query) %}
{% endmacro %}
