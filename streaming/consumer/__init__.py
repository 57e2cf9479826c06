"""The sink: records of the topics become typed Parquet objects in the lake, each offset exactly once.

Lives here: ``records`` (what a record carries), ``decode`` (a record becomes rows, a dead letter, or nothing),
``buffer`` (what one partition has gathered), ``log`` (looking into the broker's log), ``dead_letters``, ``writer``
(the lake protocol for one partition), ``worker`` (the loop: consume, rotate, commit, rebalance, drain). Doesn't:
the chain's rules (``tidemark.lake.chain``), what a frame means (``tidemark.exchanges``).
"""
