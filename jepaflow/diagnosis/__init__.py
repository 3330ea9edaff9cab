"""Is the model blind? Forecast skill against copy-last, geometry of the latents, one plain verdict, one report."""
