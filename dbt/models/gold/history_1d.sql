{{ config(materialized = 'lasting_view') }}

{{ fuller_bars(ref('ohlcv_1d'), ref('candle'), '1d') }}
