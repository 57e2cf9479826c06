"""What each exchange sends and how to ask for it: pure functions, bytes in and events out.

Lives here: ``base`` (the interface), ``registry`` (name to exchange, and ``read``: one Kafka record's value
to rows), ``connection`` (the producers' own records), what all exchanges share (``values``, ``messages``),
and one folder an exchange. Doesn't: sockets, HTTP, files, tables.
"""
