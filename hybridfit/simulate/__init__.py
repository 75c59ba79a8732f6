"""Simulated frames and scans, for rehearsal and for tests."""
