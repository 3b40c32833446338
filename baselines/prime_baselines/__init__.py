"""The methods that PriME is compared with, one file each; the file's stem is the method's name."""
