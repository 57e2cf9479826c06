"""What Tidemark tells people: the daily report and failures, in Slack and on a page.

Lives here: facts and their wording, the number gate, the language model's narrative, Block Kit, the digest page,
and the outbox that posts exactly once. Doesn't: making the numbers (``dbt``), checking completeness
(``tidemark.jobs``), scheduling (``airflow``). Imports ``tidemark``; never ``streaming``, ``serving`` or Airflow.
"""
