"""System 1: from a goal's latent to actions. Solvers, costs and the receding-horizon controller."""
