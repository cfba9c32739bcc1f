"""Other systems, each driven by a script that runs in their own environment and prints one JSON object of figures."""
