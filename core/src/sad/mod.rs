//! SPI to SA.
/// A handle to an SA: index and generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SaId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}
