"""Who shares: embeddings, the choice of sharers, base adaptation, adapters, gates, and what is held out of them."""
