//! Tar archives of one file, as POSIX (`ustar`) has them.

const BLOCK: u64 = 512;
/// Two empty blocks end an archive.
pub(super) const END: [u8; 1024] = [0; 1024];

/// The header of an ordinary file. `name` has at most 100 bytes.
pub(super) fn header(name: &str, size: u64) -> Vec<u8> {
    // The checksum is taken over a header with spaces in the checksum's place.
    let sum: u32 = fields(name, size, b"        ").into_iter().map(u32::from).sum();
    fields(name, size, format!("{sum:06o}\0 ").as_bytes())
}

fn fields(name: &str, size: u64, checksum: &[u8]) -> Vec<u8> {
    let size = format!("{size:011o}\0");
    let mut header = Vec::with_capacity(512);
    for (value, width) in [
        (name.as_bytes(), 100),
        (b"0000644\0", 8),
        (b"0000000\0", 8),
        (b"0000000\0", 8),
        (size.as_bytes(), 12),
        (b"00000000000\0", 12),
        (checksum, 8),
        (b"0", 1),
        (b"", 100),
        (b"ustar\x0000", 8),
        (b"", 247),
    ] {
        let end = header.len() + width;
        header.extend(value.iter().take(width));
        header.resize(end, 0);
    }
    header
}

/// How many bytes fill the last block of a file.
pub(super) fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK) - size
}

/// An archive of one file.
pub(super) fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let size = content.len() as u64;
    let padding = (0..padding(size)).map(|_| 0);
    let mut archive = header(name, size);
    archive.extend_from_slice(content);
    archive.extend(padding);
    archive.extend(END);
    archive
}
