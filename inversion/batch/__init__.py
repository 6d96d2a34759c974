"""Many photos: a folder for each face, reports, reruns."""
