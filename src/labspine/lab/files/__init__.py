"""The file writer: scans as HDF5/NeXus and CSV. Needs h5py, so nothing is imported here."""
