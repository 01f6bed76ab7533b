//! Promotions between registries in memory: no program but cargo is needed.

#[cfg(test)]
mod attached;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod copy;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod kms;
#[cfg(test)]
mod races;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod setup;
#[cfg(test)]
mod sign;
