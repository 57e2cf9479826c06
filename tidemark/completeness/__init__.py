"""Whether nothing was lost and nothing doubled: the identities, computed from the books and what lies there.

Lives here: one module an identity (``socket`` 0, ``chain`` 1, ``counts`` 2, ``accounting`` 3, ``arithmetic`` 4,
``witness`` 5 with ``volumes`` and ``sequences``), what they share (``verdicts``, ``loads``), the broker's watermarks
(``watermarks``), the book of gaps (``gaps``) and what fills it (``silence``, ``lost``), coverage for reports
(``summary``), and ``check``, which puts them together. Doesn't: repairs (``jobs.repair``).

Verdicts stand in ``ops.completeness``, a row for each exchange, dataset, hour and identity; identities 0 to 2 by
receive hour, 3 to 5 by event hour:

* **green**: what should be there is there, exactly. **red**: something is missing, doubled or different, and
  ``detail`` names it. **open**: nothing is proven wrong, but something that exists still waits (to land, to be
  loaded, to be built).
* An hour with nothing to check gets no row; if it had one, it becomes green with 0 = 0;
  but an identity that can't look (its table is gone) says so, and makes nothing green.
* Identity 0 knows no dataset (a frame that never arrived could have been any): it stands under ``system``.
* A green hour is sealed an hour after it is over. When retention has dropped what a verdict rests on, a sealed verdict
  stands as it is.
"""
