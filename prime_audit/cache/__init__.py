"""A folder of entries by content key: written atomically, checksummed, and locked while computed.

It knows neither models nor tasks; ``community.store`` knows what an entry contains.
"""
