"""Language: a sentence becomes requests, and requests become potentials on landmarks."""
