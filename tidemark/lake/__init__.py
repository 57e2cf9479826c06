"""The lake: objects that are written once, Parquet in and out, and the chain that landing objects form.

Lives here: ``store`` (the interface, and which store a URL means), ``local`` and ``gcs`` (the two stores),
``parquet`` (rows to bytes and back, the footer), ``chain`` (which offsets an object holds, what is missing, where
to go on), ``compacted`` (the lake that readers query). Doesn't: Kafka (``streaming.consumer``), what a frame means
(``exchanges``), PostgreSQL (``warehouse``).
"""
