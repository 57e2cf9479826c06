"""The gate between raw and silver: rows in bulk are held against what the contracts promise.

Lives here: what is expected of each dataset (``suites``, from the contracts), which rows are checked and what follows
(``books``), running it inside the database with Great Expectations (``gate``), pages to look at (``pages``). Doesn't:
single rows, which silver judges one by one (``dbt``); completeness (``tidemark.completeness``).

Importing ``gate`` takes seconds: only the job does, and only when there is something to check.
"""
