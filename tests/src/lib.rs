//! The system as its users meet it.
