"""Any merchant's file becomes events of the wire, in the order in which they were known.

A file is a :class:`~avalist.history.source.History`: one of our own events (``eventfile``), or of rows (``rowfile``)
with a mapping that says what its columns mean. ``understanding`` proposes one for a file that nobody prepared.
"""
