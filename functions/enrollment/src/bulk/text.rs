//! From bytes to text: what spreadsheets and personnel systems write. Pure.

use std::borrow::Cow;

/// What Windows-1252 has at 0x80 to 0x9F, where Latin-1 has control characters; the five that it leaves open stay those.
const WINDOWS_1252: [char; 32] = [
    '\u{20ac}', '\u{81}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}',
    '\u{2c6}', '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\u{8d}', '\u{17d}', '\u{8f}',
    '\u{90}', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}',
    '\u{2dc}', '\u{2122}', '\u{161}', '\u{203a}', '\u{153}', '\u{9d}', '\u{17e}', '\u{178}',
];

/// Why bytes are no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextFault {
    /// They break the rules of the encoding that they declare.
    Encoding(&'static str),
    /// The encoding is none that is read here.
    UnknownEncoding,
    /// A NUL, on this line.
    Nul(u64),
}

/// The text of a file. A byte order mark says how it is encoded; without one `charset` does, what was declared with it; and
/// without that, UTF-8 when it is that, else Windows-1252.
pub(super) fn decode<'a>(
    bytes: &'a [u8],
    charset: Option<&str>,
) -> Result<Cow<'a, str>, TextFault> {
    let text = if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        utf8(rest)?
    } else if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        Cow::Owned(utf16(rest, u16::from_le_bytes)?)
    } else if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        Cow::Owned(utf16(rest, u16::from_be_bytes)?)
    } else {
        match charset.map(str::to_ascii_lowercase).as_deref() {
            Some("utf-8" | "utf8" | "us-ascii") => utf8(bytes)?,
            Some("utf-16" | "utf-16le") => Cow::Owned(utf16(bytes, u16::from_le_bytes)?),
            Some("utf-16be") => Cow::Owned(utf16(bytes, u16::from_be_bytes)?),
            Some("windows-1252" | "cp1252" | "iso-8859-1" | "iso-8859-15" | "latin1") => {
                Cow::Owned(windows_1252(bytes))
            }
            Some(_) => return Err(TextFault::UnknownEncoding),
            None => utf8(bytes).unwrap_or_else(|_| Cow::Owned(windows_1252(bytes))),
        }
    };
    // No database stores one.
    match text.find('\0') {
        Some(at) => Err(TextFault::Nul(line_at(&text, at))),
        None => Ok(text),
    }
}

fn line_at(text: &str, at: usize) -> u64 {
    let breaks = text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    u64::try_from(breaks).unwrap_or(u64::MAX).saturating_add(1)
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, TextFault> {
    std::str::from_utf8(bytes)
        .map(Cow::Borrowed)
        .map_err(|_| TextFault::Encoding("UTF-8"))
}

fn utf16(bytes: &[u8], read: fn([u8; 2]) -> u16) -> Result<String, TextFault> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(TextFault::Encoding("UTF-16"));
    }
    char::decode_utf16(pairs.iter().map(|pair| read(*pair)))
        .collect::<Result<_, _>>()
        .map_err(|_| TextFault::Encoding("UTF-16"))
}

fn windows_1252(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
            _ => char::from(*byte),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn in_utf16(text: &str, write: fn(u16) -> [u8; 2], mark: &[u8]) -> Vec<u8> {
        let units = text.encode_utf16().flat_map(write);
        mark.iter().copied().chain(units).collect()
    }

    #[test]
    fn every_encoding_says_the_same() {
        let text = "e-mail;Kurs\nzoë@example.com;Über „Öl“ – 5 €\n";
        let windows: Vec<u8> = text
            .chars()
            .map(
                |letter| match WINDOWS_1252.iter().position(|known| *known == letter) {
                    Some(at) => 0x80 + u8::try_from(at).unwrap(),
                    None => u8::try_from(u32::from(letter)).unwrap(),
                },
            )
            .collect();
        let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
        for (what, bytes, charset) in [
            ("plain", text.as_bytes().to_vec(), None),
            ("declared", text.as_bytes().to_vec(), Some("UTF-8")),
            ("marked", marked, Some("windows-1252")),
            (
                "little",
                in_utf16(text, u16::to_le_bytes, b"\xff\xfe"),
                None,
            ),
            (
                "big",
                in_utf16(text, u16::to_be_bytes, b"\xfe\xff"),
                Some("utf-8"),
            ),
            (
                "unmarked",
                in_utf16(text, u16::to_be_bytes, b""),
                Some("utf-16be"),
            ),
            ("windows", windows.clone(), None),
            ("declared windows", windows, Some("Windows-1252")),
        ] {
            assert_eq!(decode(&bytes, charset).as_deref(), Ok(text), "{what}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for (bytes, charset, fault) in [
            (&b"a\xff"[..], Some("utf-8"), TextFault::Encoding("UTF-8")),
            (b"\xef\xbb\xbfa\xff", None, TextFault::Encoding("UTF-8")),
            (b"\xff\xfea", None, TextFault::Encoding("UTF-16")),
            (
                b"\xff\xfe\x00\xd8a\x00",
                None,
                TextFault::Encoding("UTF-16"),
            ),
            (b"a", Some("ebcdic"), TextFault::UnknownEncoding),
            (b"a\nb\n\0", None, TextFault::Nul(3)),
            // UTF-16 that says nothing of it.
            (b"a\0b\0", None, TextFault::Nul(1)),
        ] {
            assert_eq!(decode(bytes, charset), Err(fault), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for charset in [None, Some("utf-8"), Some("utf-16"), Some("latin1")] {
                if let Ok(text) = decode(&bytes, charset) {
                    prop_assert!(!text.contains('\0'));
                }
            }
        }
    }
}
