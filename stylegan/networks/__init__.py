"""The networks and their layers: generators, discriminator, perceptual backbone."""
