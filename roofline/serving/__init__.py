"""Many users at once: throughput and the knee, a newcomer's prompt beside running users, embeddings."""
