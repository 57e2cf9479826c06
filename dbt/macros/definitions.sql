{#-
    Definitions that exist already are changed here, and only here: views, and the columns of tables.

    Such a change needs a lock that no reader may hold meanwhile, and whoever asks for a table after it waits behind it.
    So it asks for the lock for half a second at a time and lets readers pass in between. A reader's session that idles in
    a transaction ends by its role's time-outs (migration 0021) before the attempts do.
-#}
{% macro change_definition(relation, change, otherwise='') %}
    {#- `otherwise` is done where PostgreSQL can't alter the definition in place. -#}
    {%- set name = relation.schema ~ '.' ~ relation.identifier -%}
    do $change$
    declare
        readers text;
    begin
        for attempt in 1 .. {{ var('definition_attempts') }} loop
            begin
                set local lock_timeout to '500ms';
                {%- if otherwise %}
                begin
                    {{ change }};
                exception when invalid_table_definition then
                    {{ otherwise }};
                end;
                {%- else %}
                {{ change }};
                {%- endif %}
                set local lock_timeout to '{{ var('lock_timeout') }}';
                return;
            exception when lock_not_available then
                select string_agg(distinct format('pid %s (%s, %s)', held.pid, session.usename, session.application_name), ', ')
                into readers
                from pg_locks as held inner join pg_stat_activity as session on held.pid = session.pid
                where held.relation = to_regclass('{{ name }}') and held.granted and held.pid <> pg_backend_pid();
            end;
            perform pg_sleep(2);
        end loop;
        raise lock_not_available using message =
            'the definition of {{ name }} has changed, and an open transaction still reads it: '
            || coalesce(readers, 'its session has just ended')
            || '. Nothing was changed and the next run tries again. To end a session: select pg_terminate_backend(pid)';
    end
    $change$
{% endmacro %}


{#- Whether a view is missing, or differs in text or columns from what `sql` would make. Asked of PostgreSQL, under whose
    own spelling both are compared. -#}
{% macro is_view_stale(relation, sql) %}
    {%- set held -%}to_regclass('{{ relation.schema }}.{{ relation.identifier }}'){%- endset -%}
    {%- set wanted = 'wanted_' ~ relation.identifier -%}
    {% if not scalar('select ' ~ held ~ ' is not null') %}
        {{ return(true) }}
    {% endif %}
    {% do run_query('create temporary view ' ~ wanted ~ ' as ' ~ sql) %}
    {% set is_stale = scalar(
        "select pg_get_viewdef(" ~ held ~ ") <> pg_get_viewdef('pg_temp." ~ wanted ~ "'::regclass)"
        ~ " or " ~ columns_of(held) ~ " <> " ~ columns_of("'pg_temp." ~ wanted ~ "'::regclass")
    ) %}
    {% do run_query('drop view pg_temp.' ~ wanted) %}
    {{ return(is_stale) }}
{% endmacro %}


{#- Whether a view outside of the relation's schema rests on it, directly or through others. -#}
{% macro has_foreign_views(relation) %}
    {% set query %}
        with recursive resting as (
            select to_regclass('{{ relation.schema }}.{{ relation.identifier }}')::oid as oid
            union
            select rewrite.ev_class
            from resting
            inner join pg_depend as depend
                on resting.oid = depend.refobjid and depend.refclassid = 'pg_class'::regclass
            inner join pg_rewrite as rewrite
                on depend.objid = rewrite.oid and depend.classid = 'pg_rewrite'::regclass
        )

        select count(*) > 0
        from resting inner join pg_class as relation on resting.oid = relation.oid
        where relation.relnamespace <> '{{ relation.schema }}'::regnamespace
    {% endset %}
    {{ return(scalar(query)) }}
{% endmacro %}


{% macro columns_of(oid) -%}
    (
        select array_agg(format('%I %s', attname, format_type(atttypid, atttypmod)) order by attnum)
        from pg_attribute
        where attrelid = {{ oid }} and attnum > 0 and not attisdropped
    )
{%- endmacro %}


{#- Grants what the model's config names and the relation lacks. Nothing is revoked: the migrations' default privileges
    let others read too. -#}
{% macro grant_missing(relation) %}
    {%- set name = relation.schema ~ '.' ~ relation.identifier -%}
    {% for privilege, roles in (config.get('grants') or {}).items() %}
        {% for role in ([roles] if roles is string else roles) %}
            {% if not scalar("select has_table_privilege('" ~ role ~ "', '" ~ name ~ "', '" ~ privilege ~ "')") %}
                {% do run_query('grant ' ~ privilege ~ ' on ' ~ relation ~ ' to ' ~ adapter.quote(role)) %}
            {% endif %}
        {% endfor %}
    {% endfor %}
{% endmacro %}
