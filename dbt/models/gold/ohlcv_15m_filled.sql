{{ config(materialized = 'lasting_view') }}

{{ filled(ref('ohlcv_15m'), '15 minutes') }}
