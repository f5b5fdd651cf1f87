"""Networks over graphs: nodes and the edges between them."""
