//! Never wider, and back again the same; each word of the other forms; what is wrong, by line and column.

mod files;
mod forms;
mod seccomp;
