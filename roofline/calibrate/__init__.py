"""Calibration: measured speeds against predictions → constants, their errors, and the band."""
