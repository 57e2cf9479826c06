"""Many frames of one dataset read at once into Arrow columns, exactly as the exchange's parser reads them one by one.

Lives here: ``shape`` (what an exchange declares: which field is which column), ``spelling`` (how frames are spelled,
learnt from one of them), ``lines`` (reading lines that are spelled alike) and ``reader`` (frames in, columns out).
Doesn't: any exchange's fields (``<exchange>/columns``), and frames out of the ordinary: the reader hands back every
frame that it isn't sure of, and the exchange's own ``parse`` remains the judge of those.
"""
