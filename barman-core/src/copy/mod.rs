//! Copying trees of files between directories, synced in bulk.
