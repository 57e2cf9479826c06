"""The producer: every frame of the exchanges' sockets, verbatim and numbered, into Kafka.

Lives here, one file a concern. Of an exchange: ``feed`` (kept running), ``markets`` and ``subscriptions`` (what to ask
for), ``plan`` (over which connections), ``breaker`` (when nothing works). Of a connection: ``session`` (one after
another), ``link`` (one socket's life), ``watch`` (whether it is well). Of a record: ``records`` (what is written),
``broker`` and ``statistics`` (delivery), ``gate`` and ``pace`` (when to stop reading). Beside the way: ``books`` and
``snapshots``. ``counts``, ``metrics`` and ``readiness`` say how it goes, ``app`` puts all of it together. Doesn't:
parsing (``tidemark.exchanges``; the sink does it).
"""
