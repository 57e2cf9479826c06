"""PostgreSQL, the warehouse: how it is made, and how landing objects become rows of raw.

Lives here: ``connection``, ``migrate`` (numbered SQL in ``migrations``, raw tables from the contracts), ``load``
(a landing object and its ledger row in one transaction), ``copy_binary`` (Arrow to binary COPY). Doesn't: silver and
gold (dbt), what complete means (``completeness``).
"""
