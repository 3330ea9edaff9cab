"""System 2: landmarks, the graph between them, the exact oracle over its walks, and the GFlowNet that proposes sub-goals."""
