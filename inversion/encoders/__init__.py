"""Encoders: networks that look at a face and predict its latent. Ours, pSp's and e4e's, and how ours is trained."""
