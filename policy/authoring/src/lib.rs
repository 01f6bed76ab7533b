//! Writing trust policies: what an operator needs before a document reaches a node.
//!
//! Nothing here decides about an image, and nothing here is linked into a verifier. Every answer
//! about a document comes from the parser that the verifier itself uses.
//!
//! | module | what it holds |
//! |---|---|
//! | [`kind`] | [`Kind`]: which verifier a document is written for |

pub mod kind;

pub use kind::Kind;
