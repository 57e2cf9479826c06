"""The gate between raw and silver: rows in bulk are held against what the contracts promise.

Lives here: what is expected of each dataset (``suites``, from the contracts), which rows are checked and what follows
(``gate``), pages to look at (``pages``). Great Expectations does the checking, inside the database. Doesn't: single
rows, which silver judges one by one (``dbt``); completeness (``tidemark.completeness``).

Importing ``suites`` imports Great Expectations, which takes seconds: only the job does.
"""
