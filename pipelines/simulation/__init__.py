"""The simulated fleet on a site: its registry and billing database, its sending, and the demo."""
