//! The engine as a whole: what goes in comes out again.

mod damage;
mod history;
mod shapes;
mod stops;
