{{ config(materialized = 'lasting_view') }}

{{ filled(ref('ohlcv_1h'), '1 hour') }}
