"""Many frames of one dataset read at once into Arrow columns, exactly as the exchange's record parser reads them.

Contains: ``shape`` (what an exchange declares: which field is which column), ``program`` (a shape compiled), ``native``
and ``frames.c`` (one walk over the bytes of the frames) and ``reader`` (frames in, columns out). Does not contain: any
exchange's fields (``<exchange>/columns``), and frames out of the ordinary: the reader returns the number of every frame
that it isn't sure of, and the exchange's own ``parse`` decides about those.
"""
