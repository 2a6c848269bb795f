//! Finds an engine and says where from.
