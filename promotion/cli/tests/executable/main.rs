//! The executable, with registries in memory: no program but cargo is needed.

#[cfg(test)]
mod digests;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod key;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod process;
#[cfg(test)]
mod published;
#[cfg(test)]
mod signatures;
#[cfg(test)]
mod verbs;
