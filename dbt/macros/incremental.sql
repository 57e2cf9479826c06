{#-
    Materialization of every table here, in place of dbt's own `incremental`: in one transaction, alone among runs of
    the model, takes what is new by the ledger and applies it by the model's incremental_strategy:

      judge            silver (macros/judge.sql, macros/silver.sql)
      replace_window   gold (macros/replace_window.sql)

    If anything fails, nothing has happened, the marks included; the next run takes the same again. The table is
    created empty first, so a model always finds what it holds in `this`; one that is there is brought to its contract
    first (macros/contract_changes.sql).

    --full-refresh makes gold take every build that is on record again: all windows that its inputs still allow are
    computed again. Silver refuses it, since raw keeps a week: rows that raw no longer has would be lost.
-#}
{% materialization incremental, adapter='postgres' %}

    {%- set target = this.incorporate(type='table') -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {% do begin_alone(target) %}

    {% set created = ensure_table(target) %}
    {% if should_full_refresh() and not created %}
        {% do refresh_fully(target) %}
    {% endif %}
    {#- Last, since a change of the table ends the transaction and these set what holds within one. -#}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {% if config.get('incremental_strategy') == 'judge' %}
        {% do apply_judgement(target, sql, created) %}
    {% else %}
        {% do apply_replace_window(target, sql, created) %}
    {% endif %}
    {% if created %}
        {% do finish_table(target) %}
    {% endif %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {% if not created %}
        {% do promise_not_null(target) %}
    {% endif %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target]}) }}

{% endmaterialization %}


{#- What dbt shows for a model that found nothing to do. -#}
{% macro nothing_new() %}
    {% call noop_statement('main', 'NOTHING NEW') %}{% endcall %}
{% endmacro %}


{% macro refresh_fully(relation) %}
    {% if config.get('incremental_strategy') == 'judge' %}
        {{ exceptions.raise_compiler_error(
            consumer(relation) ~ ' is not rebuilt by --full-refresh: silver judges each raw row once, and raw keeps them for '
            ~ 'as long as ops.retention says, so older rows would be lost. Select gold alone (--select gold), or, to judge '
            ~ 'again what raw still has and lose the rest, drop table ' ~ consumer(relation) ~ ' and run silver'
        ) }}
    {% endif %}
    {% do forget_builds(relation) %}
    {% set oldest = scalar('select min(built_at) from ' ~ source('ops', 'build')) %}
    {% do log(
        consumer(relation) ~ ': --full-refresh computes every window again that a build on record touched, the oldest of '
        ~ oldest ~ '; rows whose inputs retention has dropped stay as they are (ops.refusal)', info=true
    ) %}
{% endmacro %}
