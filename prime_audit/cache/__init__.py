"""A folder of entries by content key: written whole, checksummed, locked while made; listed, verified and pruned.

It knows neither models nor tasks: what an entry holds is ``community.store``'s business.
"""
