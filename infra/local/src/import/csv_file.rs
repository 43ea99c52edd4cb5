//! Compressed CSV files, read one row at a time.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use csv::{ByteRecord, ReaderBuilder, StringRecord};
use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;

use super::findings::{Action, Reason, Remark};

/// A row with too many or too few fields.
pub(super) static WRONG_NUMBER_OF_COLUMNS: Reason = Reason {
    action: Action::Skipped,
    code: "wrong_number_of_columns",
    meaning: "row has too many or too few columns",
};
/// A row that is not UTF-8.
pub(super) static NOT_TEXT: Reason = Reason {
    action: Action::Skipped,
    code: "not_text",
    meaning: "row is not UTF-8 text",
};
/// A required field is empty.
pub(super) static MISSING_VALUE: Reason = Reason {
    action: Action::Skipped,
    code: "missing_value",
    meaning: "a required value is missing",
};
/// A number is expected.
pub(super) static NOT_A_NUMBER: Reason = Reason {
    action: Action::Skipped,
    code: "not_a_number",
    meaning: "a value should be a whole number and is not",
};

/// A file `*.csv.gz` whose header has been checked.
pub(super) struct CsvFile {
    name: String,
    header: &'static [&'static str],
    reader: csv::Reader<Box<dyn Read + Send>>,
    raw: ByteRecord,
    row: StringRecord,
}

/// One row: where it stands in the file, and its fields unless they cannot be read.
pub(super) struct Line<'a> {
    pub number: u64,
    pub fields: Result<Fields<'a>, Remark>,
}

/// The fields of a row, by the names of the header.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    header: &'static [&'static str],
    row: &'a StringRecord,
}

impl CsvFile {
    /// Opens `dir/name`, compares its first row with `header`, and adds its bytes to `bar`, which moves along while
    /// they are read.
    pub fn open(
        dir: &Path,
        name: &str,
        header: &'static [&'static str],
        bar: &ProgressBar,
    ) -> Result<Self> {
        let path = dir.join(name);
        let file =
            File::open(&path).with_context(|| format!("{} cannot be opened", path.display()))?;
        bar.inc_length(
            file.metadata()
                .map(|metadata| metadata.len())
                .unwrap_or_default(),
        );
        let source: Box<dyn Read + Send> =
            Box::new(MultiGzDecoder::new(BufReader::new(bar.wrap_read(file))));
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(source);
        let found = reader.headers().map_err(|error| damaged(name, 1, &error))?;
        if found.iter().ne(header.iter().copied()) {
            bail!(
                "{name} begins with the columns «{}»; expected are «{}». Is it the right file?",
                found.iter().collect::<Vec<_>>().join(","),
                header.join(",")
            );
        }
        Ok(Self {
            name: name.to_owned(),
            header,
            reader,
            raw: ByteRecord::new(),
            row: StringRecord::new(),
        })
    }

    /// The file's name, without its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next row, or none at the end. Fails when the file is cut short or damaged.
    pub fn read(&mut self) -> Result<Option<Line<'_>>> {
        if !self
            .reader
            .read_byte_record(&mut self.raw)
            .map_err(|error| damaged(&self.name, self.reader.position().line(), &error))?
        {
            return Ok(None);
        }
        let number = self.raw.position().map_or(0, csv::Position::line);
        // The buffers change places: nothing is allocated for a row.
        let raw = std::mem::take(&mut self.raw);
        let fields = match StringRecord::from_byte_record(raw) {
            Ok(row) => {
                self.raw = std::mem::replace(&mut self.row, row).into_byte_record();
                if self.row.len() == self.header.len() {
                    Ok(Fields {
                        header: self.header,
                        row: &self.row,
                    })
                } else {
                    Err(Remark::new(
                        &WRONG_NUMBER_OF_COLUMNS,
                        format!(
                            "{} columns instead of {}",
                            self.row.len(),
                            self.header.len()
                        ),
                    ))
                }
            }
            Err(error) => Err(Remark::new(&NOT_TEXT, error.utf8_error().to_string())),
        };
        Ok(Some(Line { number, fields }))
    }
}

fn damaged(name: &str, line: u64, error: &csv::Error) -> anyhow::Error {
    anyhow::anyhow!(
        "{name} is damaged or cut short at about line {line}: {error}. Get the file again."
    )
}

impl<'a> Fields<'a> {
    /// The field, without blanks around it; none where it is empty or a question mark, as the source writes unknowns.
    pub fn optional(&self, column: &str) -> Option<&'a str> {
        let index = self.header.iter().position(|name| *name == column)?;
        self.row
            .get(index)
            .map(str::trim)
            .filter(|text| !text.is_empty() && *text != "?")
    }

    /// The field, which must not be empty.
    pub fn text(&self, column: &str) -> Result<&'a str, Remark> {
        self.optional(column)
            .ok_or_else(|| Remark::new(&MISSING_VALUE, format!("{column} is empty")))
    }

    /// The field as a whole number.
    pub fn number<N: std::str::FromStr>(&self, column: &str) -> Result<N, Remark> {
        let text = self.text(column)?;
        text.parse()
            .map_err(|_| Remark::new(&NOT_A_NUMBER, format!("{column} is «{text}»")))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;
    use std::path::PathBuf;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A compressed file of its own in a folder of its own, removed with the value.
    pub struct Sample(PathBuf);

    impl Sample {
        pub fn new(bytes: &[u8]) -> Self {
            let dir = std::env::temp_dir().join(format!("lyceum-csv-{}", uuid::Uuid::new_v4()));
            std::fs::create_dir_all(&dir).unwrap();
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(bytes).unwrap();
            std::fs::write(dir.join("x.csv.gz"), encoder.finish().unwrap()).unwrap();
            Self(dir)
        }

        pub fn cut(self) -> Self {
            let path = self.0.join("x.csv.gz");
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            self
        }

        pub fn open(&self, header: &'static [&'static str]) -> Result<CsvFile> {
            CsvFile::open(&self.0, "x.csv.gz", header, &ProgressBar::hidden())
        }
    }

    impl Drop for Sample {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn remark(file: &mut CsvFile) -> (u64, Remark) {
        let line = file.read().unwrap().unwrap();
        let number = line.number;
        match line.fields {
            Ok(fields) => (number, fields.number::<i32>("b").unwrap_err()),
            Err(remark) => (number, remark),
        }
    }

    #[test]
    fn reads_rows_and_says_what_is_wrong_with_each() {
        let sample =
            Sample::new(b"a,b\n1, 2 \n1\n1,\xff\n1,\n1,?\n1,1.5\n1,99999999999\n\"x\ny\",3\n4,4\n");
        let mut file = sample.open(&["a", "b"]).unwrap();
        let line = file.read().unwrap().unwrap();
        assert_eq!(
            (
                line.number,
                line.fields.unwrap().number::<i32>("b").unwrap()
            ),
            (2, 2)
        );
        assert_eq!(
            remark(&mut file),
            (
                3,
                Remark::new(&WRONG_NUMBER_OF_COLUMNS, "1 columns instead of 2")
            )
        );
        let (number, not_text) = remark(&mut file);
        assert_eq!((number, not_text.reason), (4, &NOT_TEXT));
        assert_eq!(
            remark(&mut file),
            (5, Remark::new(&MISSING_VALUE, "b is empty"))
        );
        assert_eq!(
            remark(&mut file),
            (6, Remark::new(&MISSING_VALUE, "b is empty"))
        );
        assert_eq!(
            remark(&mut file),
            (7, Remark::new(&NOT_A_NUMBER, "b is «1.5»"))
        );
        assert_eq!(
            remark(&mut file),
            (8, Remark::new(&NOT_A_NUMBER, "b is «99999999999»"))
        );
        assert_eq!(file.read().unwrap().unwrap().number, 9);
        assert_eq!(file.read().unwrap().unwrap().number, 11);
        assert!(file.read().unwrap().is_none());
    }

    #[test]
    fn refuses_another_header_and_no_file() {
        let error = Sample::new(b"b,a\n1,2\n")
            .open(&["a", "b"])
            .err()
            .unwrap()
            .to_string();
        assert_eq!(
            error,
            "x.csv.gz begins with the columns «b,a»; expected are «a,b». Is it the right file?"
        );
        assert!(Sample::new(b"").open(&["a", "b"]).is_err());
        let missing = CsvFile::open(
            Path::new("/nowhere"),
            "x.csv.gz",
            &["a"],
            &ProgressBar::hidden(),
        );
        assert_eq!(
            missing.err().unwrap().to_string(),
            "/nowhere/x.csv.gz cannot be opened"
        );
    }

    #[test]
    fn notices_a_file_cut_short() {
        let rows: String = (0..20_000)
            .map(|n| format!("{n},{}\n", n * 7919 % 10_007))
            .collect();
        let sample = Sample::new(format!("a,b\n{rows}").as_bytes()).cut();
        let mut file = sample.open(&["a", "b"]).unwrap();
        let error = loop {
            match file.read() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the end came without a complaint"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(
            error.starts_with("x.csv.gz is damaged or cut short at about line "),
            "{error}"
        );
    }
}
