//! The library as `civ policy` uses it: documents in, findings, settings and documents out.

#[cfg(test)]
mod convert;
#[cfg(test)]
mod lint;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod settings;
