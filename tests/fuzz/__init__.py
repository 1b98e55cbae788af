"""Fuzzing of the three readers of model files; ``python -m tests.fuzz 60`` runs for a minute."""
