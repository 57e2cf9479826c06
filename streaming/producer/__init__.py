"""The producer: every frame of an exchange's sockets, verbatim and numbered, into Kafka.

Lives here, one file a concern: ``records`` (what is written), ``broker`` (delivery), ``gate`` and ``pace``
(when to stop reading), ``link`` (one socket's life), ``session`` (the next one, and the one after it),
``markets`` (what to ask for), ``app`` (all of it together, and its end). Doesn't: parsing
(``tidemark.exchanges``; the sink does it).
"""
