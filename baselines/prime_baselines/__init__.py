"""The rivals of PriME, one file a method; the file's stem is the method's name."""
