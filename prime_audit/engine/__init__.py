"""The model room: one frozen base, a bank of adapters, and batches whose rows carry different mixtures.

Knows nothing of users, tasks or attacks. All but ``mixture``, ``recipe``, ``privacy`` and ``batches`` imports torch;
nothing outside the engine needs to.
"""
