//! The engine as a whole: what goes in comes out again.

mod cinder;
mod damage;
mod differing;
mod foreign;
mod history;
mod resume;
mod shapes;
mod stops;
mod throttled;
mod trust;
mod zeros;
