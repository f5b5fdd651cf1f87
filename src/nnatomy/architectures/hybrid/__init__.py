"""Networks joined to another kind of computation: solvers of differential equations."""
