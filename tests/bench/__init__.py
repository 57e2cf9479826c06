"""``make bench``: how fast the platform is, as ratios to well-known ways of doing the same work, measured in one run.

Lives here: ``harness`` (interleaving, medians, the table), ``frames`` (what is sent), ``broker`` (a Kafka with topics
full of it), one module a stage with a function ``rows``, and the programs that are timed, each a process of its own.
Doesn't: tests (nothing here is collected, nothing here fails for being slow).

A timed program prints one line of JSON: ``{"count": …, "seconds": …}`` and whatever else the table may note.
"""
