"""The model: one frozen base, a bank of adapters, and batches whose rows carry different mixtures.

The engine knows no users, tasks or attacks. ``rules``, ``mixture``, ``recipe``, ``privacy`` and ``batches`` do not
import torch.
"""
