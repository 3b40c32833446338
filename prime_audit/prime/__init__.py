"""PriME: evolved merge weights with a penalty for resembling the merged sharers."""
