//! Configuration: files, dialect, options, servers and models.
