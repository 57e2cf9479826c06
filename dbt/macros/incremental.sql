{#-
    Materialization of every table here, in place of dbt's own `incremental`: in one transaction, alone among runs of
    the model, takes what is new by the ledger and applies it by the model's incremental_strategy:

      judge            silver (macros/judge.sql, macros/silver.sql)
      replace_window   gold (macros/replace_window.sql)

    If anything fails, nothing has happened, the marks included; the next run takes the same again. The table is
    created empty first, so a model always finds what it holds in `this`. Nothing is ever rebuilt by dbt's
    --full-refresh: a dropped table is made anew from everything that was ever loaded.
-#}
{% materialization incremental, adapter='postgres' %}

    {%- set target = this.incorporate(type='table') -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {% do begin_alone(target) %}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% set created = ensure_table(target) %}
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
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target]}) }}

{% endmaterialization %}


{#- What dbt shows for a model that found nothing to do. -#}
{% macro nothing_new() %}
    {% call noop_statement('main', 'NOTHING NEW') %}{% endcall %}
{% endmacro %}
