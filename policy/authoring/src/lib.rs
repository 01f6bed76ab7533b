//! Writing trust policies: what an operator needs before a document reaches a node.
//!
//! Nothing here decides about an image, and nothing here is linked into a verifier. Every answer
//! about a document comes from the parser that the verifier itself uses. Bytes go in and values come
//! out; there is no file, network or clock.
//!
//! | module | what it holds |
//! |---|---|
//! | [`digests`] | writing a list of digests: [`digests::write`] |
//! | [`document`] | [`Document`]: a document of any kind |
//! | [`mod@explain`] | [`explain()`]: which statement speaks of a repository, and what it asks for |
//! | [`images`] | the images that a file names: [`images::read`] |
//! | [`kind`] | [`Kind`]: which verifier a document is written for |
//! | [`schema`] | the JSON Schema of each document |
//! | [`mod@lint`] | findings about documents, each with its place and what to do |
//! | [`mod@convert`] | other tools' policies as documents |
//! | [`settings`] | documents as Bottlerocket's settings hold them |
//! | [`located`] | JSON whose values know their places |
//! | [`yaml`] | YAML of strangers |

pub mod convert;
pub mod digests;
pub mod document;
pub mod explain;
pub mod images;
pub mod kind;
pub mod lint;
pub mod located;
mod place;
pub mod schema;
pub mod settings;
pub mod yaml;

pub use document::{Document, DocumentError};
pub use explain::explain;
pub use kind::Kind;
