"""Readers: from a folder or a table of clips to `Entry` records and rows that cannot be used."""
