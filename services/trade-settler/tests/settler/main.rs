//! The settler's core from outside: single decisions, and long random lives of it beside a simple model.

mod audit;
mod desk;
mod kept;
mod life;
mod model;
mod orders;
