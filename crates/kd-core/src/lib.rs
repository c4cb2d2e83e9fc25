//! What distillation experiments share.
