"""A dataset on disk becomes windows in memory: readers, writer, doctor, conversion, the store."""
