"""How the embedded perceptual backbone is trained."""
