"""Networks whose signals run one way, layer by layer: from the perceptron on."""
