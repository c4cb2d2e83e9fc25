//! The binary as a user runs it: one program, since each more would be linked on its own.

mod changed_students;
mod distillation;
mod own_pictures;
mod start;
mod stored_teacher;
mod sweep;
mod tables;
