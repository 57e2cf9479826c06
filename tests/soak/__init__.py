"""Hours of steady stream through the real producer and the real sink, and what they hold of memory meanwhile.

Lives here: the run (``__main__``), the line through the samples (``trend``). Doesn't: speed (``tests/bench``), faults
(``tests/faults``).
"""
