"""The exam that all games share: items, queries to models, stored signals, scores. Not a game itself."""
