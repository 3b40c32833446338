"""Who is a member, what was observed, and what the numbers can carry.

The statistics (``auc``, ``epsilon``, ``bootstrap``, ``panels``; all of them under one name in ``stats``) need
numpy and scipy only, and work on anyone's scores.
"""
