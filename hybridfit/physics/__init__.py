"""From atoms to diffracted intensities: crystal, scattering factors, the dynamical solve."""
