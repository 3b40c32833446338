"""Membership-inference attacks, one per file; the file's stem is the attack's name."""
