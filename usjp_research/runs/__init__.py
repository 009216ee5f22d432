"""A run on disk: folders, files, batches of notebooks."""
