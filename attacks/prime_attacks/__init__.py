"""Membership-inference attacks, one file an attack; the file's stem is the attack's name."""
