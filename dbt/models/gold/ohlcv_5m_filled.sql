{{ config(materialized = 'lasting_view') }}

{{ filled(ref('ohlcv_5m'), '5 minutes') }}
