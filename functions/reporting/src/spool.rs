//! Where a report waits until it is complete: in memory while it is small, then in a file. A report that fails on its way is
//! answered with a problem, never with its first half, and its tag is known before its first byte is sent.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
};

use flate2::{Compression, write::GzEncoder};
use lyceum_core::{Error, error::Rule};
use tempfile::{SpooledData, SpooledTempFile};

/// Up to so many bytes wait in memory.
const IN_MEMORY: usize = 1024 * 1024;
/// Lambda's disk has 512 MB, and a spreadsheet's rows lie there twice.
const LARGEST: u64 = 200 * 1024 * 1024;

/// A report in the making.
pub enum Spool {
    /// As it is.
    Plain(Limited),
    /// Compressed.
    Gzip(Box<GzEncoder<Limited>>),
}

/// A file that refuses to grow beyond [`LARGEST`].
pub struct Limited {
    file: SpooledTempFile,
    length: u64,
}

/// A report that is complete.
pub enum Spooled {
    /// In memory.
    Bytes(Vec<u8>),
    /// In a file, from its beginning.
    File(File),
}

impl Spool {
    /// An empty one.
    pub fn new(gzip: bool) -> Self {
        let plain = Limited {
            file: SpooledTempFile::new(IN_MEMORY),
            length: 0,
        };
        if gzip {
            Self::Gzip(Box::new(GzEncoder::new(plain, Compression::new(4))))
        } else {
            Self::Plain(plain)
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// Of the disk, or when it is too large.
    pub fn finish(self) -> io::Result<Spooled> {
        let mut plain = match self {
            Self::Plain(plain) => plain,
            Self::Gzip(gzip) => gzip.finish()?,
        };
        plain.file.seek(SeekFrom::Start(0))?;
        Ok(match plain.file.into_inner() {
            SpooledData::InMemory(bytes) => Spooled::Bytes(bytes.into_inner()),
            SpooledData::OnDisk(file) => Spooled::File(file),
        })
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(plain) => plain.write(bytes),
            Self::Gzip(gzip) => gzip.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.length += bytes.len() as u64;
        if self.length > LARGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a report could not be written.
pub fn failure(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::FileTooLarge | io::ErrorKind::StorageFull => too_large(),
        _ => Error::internal(format!("the report could not be written: {error}")),
    }
}

/// The refusal of a report that nobody could open.
pub fn too_large() -> Error {
    Error::Rule(Box::new(Rule {
        status: http::StatusCode::UNPROCESSABLE_ENTITY,
        code: "report_too_large".to_owned(),
        message: "The report is too large in this form.".to_owned(),
        hint: Some(
            "Ask for one unit, course or shorter period; CSV takes the least room.".to_owned(),
        ),
        details: None,
        details_member: "details",
        retry_after: None,
    }))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn through(gzip: bool, length: usize) -> Vec<u8> {
        let mut spool = Spool::new(gzip);
        for place in 0..length {
            spool.write_all(&[(place * place % 253) as u8]).unwrap();
        }
        let mut bytes = Vec::new();
        match spool.finish().unwrap() {
            Spooled::Bytes(whole) => bytes = whole,
            Spooled::File(mut file) => {
                assert!(length > IN_MEMORY);
                file.read_to_end(&mut bytes).unwrap();
            }
        }
        bytes
    }

    #[test]
    fn what_goes_in_comes_out() {
        for length in [0, 10, IN_MEMORY + 10] {
            let content: Vec<u8> = (0..length)
                .map(|place| (place * place % 253) as u8)
                .collect();
            assert_eq!(through(false, length), content);
            let mut unpacked = Vec::new();
            GzDecoder::new(through(true, length).as_slice())
                .read_to_end(&mut unpacked)
                .unwrap();
            assert_eq!(unpacked, content);
        }
    }

    #[test]
    fn there_is_an_end() {
        let mut spool = Spool::new(false);
        let block = vec![0; 8 * 1024 * 1024];
        let error = loop {
            if let Err(error) = spool.write_all(&block) {
                break failure(error);
            }
        };
        assert_eq!(error.code(), "report_too_large");
    }
}
