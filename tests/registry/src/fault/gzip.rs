//! A gzip stream of spaces, the fill that every JSON parser skips. Written by hand because it takes
//! two codes: one literal, and "the last byte 258 times more", 13 bits long
//! ([RFC 1951](https://www.rfc-editor.org/rfc/rfc1951), fixed Huffman codes).

/// How many bytes one repetition stands for.
const RUN: u64 = 258;
/// How many repetitions go into one piece: a multiple of eight, to end at a byte.
const RUNS_PER_PIECE: u64 = 8 << 10;

/// The pieces of a gzip stream that unpacks to at least `unpacked` spaces: to 258 n + 1 of them.
pub(super) fn spaces(unpacked: u64) -> impl Iterator<Item = Vec<u8>> {
    let runs = unpacked.saturating_sub(1).div_ceil(RUN);
    let mut bits = Bits::default();
    // Magic, deflate, no flags, no time, no extra flags, unknown system.
    bits.bytes.extend([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
    bits.push(0b011, 3); // The last block, with fixed codes.
    bits.push_code(0x30 + u32::from(b' '), 8);
    let mut stream = Stream { bits, checksum: Checksum::default(), runs_left: runs, done: false };
    stream.checksum.spaces(1);
    let length = runs.wrapping_mul(RUN).wrapping_add(1);
    std::iter::from_fn(move || stream.next_piece(length))
}

struct Stream {
    bits: Bits,
    checksum: Checksum,
    runs_left: u64,
    done: bool,
}

impl Stream {
    fn next_piece(&mut self, length: u64) -> Option<Vec<u8>> {
        if self.done {
            return None;
        }
        let runs = self.runs_left.min(RUNS_PER_PIECE);
        for _ in 0..runs {
            self.bits.push_code(0b1100_0101, 8); // Length 258,
            self.bits.push_code(0, 5); // distance 1.
        }
        self.checksum.spaces(runs * RUN);
        self.runs_left -= runs;
        if self.runs_left == 0 {
            self.done = true;
            self.bits.push_code(0, 7); // End of block.
            self.bits.pad();
            self.bits.bytes.extend(self.checksum.value().to_le_bytes());
            self.bits.bytes.extend(length.to_le_bytes().iter().take(4));
        }
        Some(std::mem::take(&mut self.bits.bytes))
    }
}

/// Bits, packed from the least significant one.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    pending: u32,
    count: u32,
}

impl Bits {
    fn push(&mut self, value: u32, width: u32) {
        self.pending |= value << self.count;
        self.count += width;
        while self.count >= 8 {
            self.bytes.extend(self.pending.to_le_bytes().first());
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    /// Huffman codes go in from their most significant bit.
    fn push_code(&mut self, code: u32, width: u32) {
        self.push(code.reverse_bits() >> (32 - width), width);
    }

    fn pad(&mut self) {
        self.push(0, (8 - self.count) % 8);
    }
}

/// CRC-32 as gzip has it, of nothing but spaces.
struct Checksum(u32);

impl Default for Checksum {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Checksum {
    fn spaces(&mut self, count: u64) {
        for _ in 0..count {
            self.0 = TABLE
                .get(((self.0 ^ u32::from(b' ')) & 0xff) as usize)
                .map_or(0, |entry| entry ^ (self.0 >> 8));
        }
    }

    fn value(&self) -> u32 {
        !self.0
    }
}

static TABLE: [u32; 256] = table();

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        #[allow(clippy::cast_possible_truncation, reason = "less than 256")]
        let mut entry = index as u32;
        let mut bit = 0;
        while bit < 8 {
            entry = if entry & 1 == 1 { 0xedb8_8320 ^ (entry >> 1) } else { entry >> 1 };
            bit += 1;
        }
        table[index] = entry;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_what_gunzip_accepts() {
        // These were unpacked by gzip, which checks length and checksum.
        for (unpacked, packed, hex) in [
            (1, 21, "bb2b82b568d6cbf2d393c42bffd50cba0a59dee6e1801163c4cc275332bc0fec"),
            (517, 24, "9be66ffae15b16bc6b73a8e80c6846b7f4462cc6f04ab9bb537d0ae7e55cce88"),
            (
                10_000_000,
                63_006,
                "d32355cb2cd731149890f92a5a7f8607bb031b5c033b7c26b7de16d8ada4ad10",
            ),
        ] {
            let bytes: Vec<u8> = spaces(unpacked).flatten().collect();
            assert_eq!(bytes.len(), packed);
            assert_eq!(civ_oci::Digest::sha256(&bytes).hex(), hex, "{unpacked}");
        }
    }
}
