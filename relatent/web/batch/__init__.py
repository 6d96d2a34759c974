"""The batch of the Batch tab: inverts and edits many photos, and packs the results into a zip file."""
