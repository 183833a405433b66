//! What must hold of any bytes; the fuzz targets and the stable tests (`tests/hostile.rs`) ask the same.

pub mod properties;
