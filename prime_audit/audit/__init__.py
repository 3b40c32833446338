"""Statistics of membership inference: AUC, intervals, permutation tests, bounds on ε, and the verdict.

The statistics (``auc``, ``epsilon``, ``bootstrap``, ``panels``; all of them in ``stats``) need only numpy and scipy.
They work on any scores.
"""
