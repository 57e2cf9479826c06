{#-
    A view that is replaced where it stands, under the lock that every model takes: dbt's own drops it and makes it anew,
    so that two runs at once collide, and readers find nothing for a moment.
-#}
{% materialization lasting_view, adapter='postgres' %}
    {% set target = this.incorporate(type='view') %}
    {% do begin_alone(target) %}
    {{ run_hooks(pre_hooks) }}
    {% do get_assert_columns_equivalent(sql) %}
    {% call statement('main') %}
        create or replace view {{ target }} as {{ sql }}
    {% endcall %}
    {% do apply_grants(target, config.get('grants'), should_revoke=false) %}
    {% do document(target) %}
    {{ run_hooks(post_hooks) }}
    {% do adapter.commit() %}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}
