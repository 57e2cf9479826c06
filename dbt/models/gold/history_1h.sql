{{ config(materialized = 'lasting_view') }}

{{ fuller_bars(ref('ohlcv_1h'), ref('candle'), '1h') }}
