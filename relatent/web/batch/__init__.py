"""The Batch tab's work: many photos, one after another, and the zip file they leave in."""
