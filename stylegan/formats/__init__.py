"""Network files: Relatent's own format, and readers for those of other projects."""
