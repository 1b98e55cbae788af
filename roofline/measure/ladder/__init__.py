"""The climb of a matrix product from plain Python to what this machine's arithmetic can do."""
