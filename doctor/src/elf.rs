//! The header of an executable: for which machine it is, and whether it needs a loader
//! (System V ABI, chapters 4 and 5; <https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html>).

/// How much of a file has to be given, in bytes. Linkers write the program headers right after the
/// file's own.
pub const HEADER_MAX: usize = 64 << 10;

const MAGIC: &[u8] = b"\x7fELF";
const SIXTY_FOUR_BITS: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
/// Program headers of 64-bit files have this size.
const PROGRAM_HEADER: usize = 56;
const PT_INTERP: u32 = 3;
const ET_EXEC: u16 = 2;
/// Position-independent executables, and libraries.
const ET_DYN: u16 = 3;

/// What an executable is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elf {
    /// The machine.
    pub machine: Machine,
    /// Whether a loader and libraries of the system are needed to run it (`PT_INTERP`).
    pub is_dynamic: bool,
}

/// A machine that executables are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// AMD64.
    X86_64,
    /// ARM64.
    Aarch64,
    /// Another, by its number.
    Other(u16),
}

impl Machine {
    /// That of a Rust architecture (`std::env::consts::ARCH`), if it is one of those told apart.
    pub fn of_arch(arch: &str) -> Option<Self> {
        match arch {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::X86_64 => f.write_str("x86_64"),
            Self::Aarch64 => f.write_str("aarch64"),
            Self::Other(number) => write!(f, "machine {number}"),
        }
    }
}

/// Why a file is no executable that Linux would run on a 64-bit machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// Not an ELF file.
    #[error("not an executable file")]
    NotElf,
    /// 32 bits, or big-endian.
    #[error("not for a 64-bit little-endian machine")]
    Class,
    /// An object file or a core dump.
    #[error("an ELF file that is not an executable")]
    NotExecutable,
    /// Cut off, or with headers elsewhere than linkers write them.
    #[error("the header of the executable is malformed")]
    Malformed,
}

/// Reads the first [`HEADER_MAX`] bytes of a file, or all of a shorter one.
pub fn read(bytes: &[u8]) -> Result<Elf, ElfError> {
    if !bytes.starts_with(MAGIC) {
        return Err(ElfError::NotElf);
    }
    let malformed = ElfError::Malformed;
    if bytes.get(4) != Some(&SIXTY_FOUR_BITS) || bytes.get(5) != Some(&LITTLE_ENDIAN) {
        return Err(if bytes.len() < 6 { malformed } else { ElfError::Class });
    }
    let kind = u16_at(bytes, 16).ok_or(malformed)?;
    if kind != ET_EXEC && kind != ET_DYN {
        return Err(ElfError::NotExecutable);
    }
    let machine = match u16_at(bytes, 18).ok_or(malformed)? {
        62 => Machine::X86_64,
        183 => Machine::Aarch64,
        other => Machine::Other(other),
    };
    let start = array_at(bytes, 32).map(u64::from_le_bytes).ok_or(malformed)?;
    let start = usize::try_from(start).map_err(|_| malformed)?;
    let size = usize::from(u16_at(bytes, 54).ok_or(malformed)?);
    let count = usize::from(u16_at(bytes, 56).ok_or(malformed)?);
    if size != PROGRAM_HEADER || count == 0 {
        return Err(malformed);
    }
    let length = count.checked_mul(size).ok_or(malformed)?;
    let end = start.checked_add(length).ok_or(malformed)?;
    let headers = bytes.get(start..end).ok_or(malformed)?;
    let is_dynamic =
        headers.chunks_exact(size).any(|header| header.starts_with(&PT_INTERP.to_le_bytes()));
    Ok(Elf { machine, is_dynamic })
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_le_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An executable with program headers of these types.
    fn executable(machine: u16, types: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..4].copy_from_slice(MAGIC);
        (bytes[4], bytes[5]) = (SIXTY_FOUR_BITS, LITTLE_ENDIAN);
        bytes[16..18].copy_from_slice(&ET_DYN.to_le_bytes());
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&u16::try_from(types.len()).unwrap().to_le_bytes());
        for kind in types {
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; PROGRAM_HEADER - 4]);
        }
        bytes
    }

    #[test]
    fn a_loader_is_seen_wherever_its_header_stands() {
        let elf = |types: &[u32]| read(&executable(62, types)).unwrap();
        assert!(!elf(&[1, 1, 4]).is_dynamic);
        assert!(elf(&[6, 3, 1]).is_dynamic && elf(&[1, 3]).is_dynamic);
        assert_eq!(read(&executable(183, &[1])).unwrap().machine, Machine::Aarch64);
        assert_eq!(read(&executable(8, &[1])).unwrap().machine, Machine::Other(8));
    }

    #[test]
    fn refuses_what_is_no_executable_of_a_64_bit_machine() {
        let changed = |at: usize, value: u8| {
            let mut bytes = executable(62, &[1]);
            bytes[at] = value;
            read(&bytes).unwrap_err()
        };
        assert_eq!(read(b"#!/bin/sh\n").unwrap_err(), ElfError::NotElf);
        assert_eq!(read(b"\x7fELF").unwrap_err(), ElfError::Malformed);
        assert_eq!(changed(4, 1), ElfError::Class);
        assert_eq!(changed(5, 2), ElfError::Class);
        assert_eq!(changed(16, 1), ElfError::NotExecutable);
        assert_eq!(changed(39, 0xff), ElfError::Malformed);
        assert_eq!(changed(54, 32), ElfError::Malformed);
        assert_eq!(changed(56, 0), ElfError::Malformed);
    }

    #[test]
    fn this_very_executable_is_for_this_machine() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let elf = read(bytes.get(..HEADER_MAX).unwrap_or(&bytes)).unwrap();
        assert_eq!(Some(elf.machine), Machine::of_arch(std::env::consts::ARCH));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&tail);
            let _ = read(&[&executable(62, &[])[..6], &tail[..]].concat());
        }

        #[test]
        fn a_file_that_is_cut_off_is_refused(types in proptest::collection::vec(any::<u32>(), 1..20), at in any::<prop::sample::Index>()) {
            let bytes = executable(62, &types);
            prop_assert_eq!(read(&bytes).unwrap().is_dynamic, types.contains(&PT_INTERP));
            prop_assert!(read(&bytes[..at.index(bytes.len())]).is_err());
        }
    }
}
