//! The operation `backup`.
