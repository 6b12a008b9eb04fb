//! The command line of espial, as a library so that its tests and fuzz targets can call it.
