//! Bech32 (BIP 173): how age writes 32 bytes, with a checksum that finds every wrong letter. Pure.

/// The letters, by their value.
const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Letters for 32 bytes, five bits in each.
const DATA: usize = 52;

/// Letters of the checksum.
const CHECKSUM: usize = 6;

/// Some bytes behind a prefix, in small letters or, where the prefix is in capitals, in capitals.
pub fn encoded(prefix: &str, bytes: &[u8; 32]) -> String {
    let small = prefix.to_ascii_lowercase();
    let data = regrouped(bytes, 8, 5);
    let mut checked: Vec<u8> = small.bytes().map(|b| b >> 5).collect();
    checked.push(0);
    checked.extend(small.bytes().map(|b| b & 31));
    checked.extend(&data);
    checked.extend([0; CHECKSUM]);
    let sum = checksum(&checked);
    let sum = (0..CHECKSUM).map(|at| (sum >> (5 * (CHECKSUM - 1 - at)) & 31) as u8);
    let letters = data.iter().copied().chain(sum).map(|value| char::from(LETTERS[usize::from(value)]));
    let text = format!("{small}1{}", letters.collect::<String>());
    if small == prefix { text } else { text.to_ascii_uppercase() }
}

/// The bytes in such a text, which has one valid spelling.
pub fn decoded(prefix: &str, text: &str) -> Option<[u8; 32]> {
    let letters = text.strip_prefix(prefix)?.strip_prefix('1')?;
    let value = |b: u8| LETTERS.iter().position(|letter| *letter == b.to_ascii_lowercase()).map(|at| at as u8);
    let values: Vec<u8> = letters.bytes().map(value).collect::<Option<_>>()?;
    let data = values.get(..DATA).filter(|_| values.len() == DATA + CHECKSUM)?;
    let bytes = regrouped(data, 5, 8).get(..32)?.try_into().ok()?;
    (encoded(prefix, &bytes) == text).then_some(bytes)
}

fn checksum(values: &[u8]) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let sum = values.iter().fold(1, |sum: u32, value| {
        let next = (sum & 0x01ff_ffff) << 5 ^ u32::from(*value);
        (0..5).filter(|bit| sum >> (25 + bit) & 1 == 1).fold(next, |next, bit| next ^ GENERATOR[bit])
    });
    sum ^ 1
}

/// Values of so many bits as values of so many others; zeros fill the last one.
fn regrouped(values: &[u8], from: u32, to: u32) -> Vec<u8> {
    let (mut all, mut pending, mut bits) = (vec![], 0_u32, 0);
    for value in values {
        pending = pending << from | u32::from(*value);
        bits += from;
        while bits >= to {
            bits -= to;
            all.push((pending >> bits & ((1 << to) - 1)) as u8);
        }
        pending &= (1 << bits) - 1;
    }
    if bits > 0 {
        all.push((pending << (to - bits) & ((1 << to) - 1)) as u8);
    }
    all
}
