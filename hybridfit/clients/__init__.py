"""Clients for other programs: one file each, which may be copied to where that program looks for it."""
