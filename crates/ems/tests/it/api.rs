//! The HTTP interface, a file a resource.

mod data;
