"""The daily report of one KST date.

The steps, each a module: ``collect`` (facts from gold and ops) → ``narrative`` (a model's text with slots) or
``deterministic`` (ours) → ``numbers`` (the gate: every number proven or the text is refused) → ``blocks`` and
``page`` (what people see) → ``store`` (rendered once) → ``alerts.slack`` (posted once). ``command`` runs them.
"""
