//! Writing trust policies: what an operator needs before a document reaches a node.
//!
//! Nothing here decides about an image, and nothing here is linked into a verifier. Every answer
//! about a document comes from the parser that the verifier itself uses.
//!
//! | module | what it holds |
//! |---|---|
//! | [`digests`] | writing a list of digests: [`digests::write`] |
//! | [`images`] | the images that a file names: [`images::read`] |
//! | [`kind`] | [`Kind`]: which verifier a document is written for |

pub mod digests;
pub mod images;
pub mod kind;

pub use kind::Kind;
