//! Names of buckets and objects, and where a request's path says them.
//!
//! What is allowed is what the real service allows, without what reads as a path to climb or cannot be written into an
//! address: no `..`, no empty folder, no `?`. A name never reaches the file system (see [`super::disk`]).

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use super::error::{Result, StorageError};

/// Longest name of an object, in bytes.
const LONGEST: usize = 1024;
/// Longest name of a bucket.
const LONGEST_BUCKET: usize = 100;
/// Words that stand for something else in the routes.
const RESERVED: [&str; 9] = [
    "authenticated",
    "copy",
    "info",
    "list",
    "list-v2",
    "move",
    "public",
    "sign",
    "upload",
];

fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_!-.*'() &$@=;:+,".contains(character)
}

/// Checks an object's name.
pub(super) fn object(name: &str) -> Result<()> {
    let segment_is_good = |segment: &str| {
        !segment.is_empty()
            && segment.len() <= 255
            && segment != "."
            && segment != ".."
            && segment.chars().all(is_allowed)
            // Spaces at an end are lost in many clients and look like another name in all.
            && segment.trim() == segment
    };
    if name.len() <= LONGEST && name.split('/').all(segment_is_good) {
        return Ok(());
    }
    Err(StorageError::invalid_name(name))
}

/// Checks a new bucket's name.
pub(super) fn bucket(name: &str) -> Result<()> {
    let good = (1..=LONGEST_BUCKET).contains(&name.len())
        && name.chars().all(is_allowed)
        && name.trim() == name
        && name != "."
        && name != ".."
        && !RESERVED.contains(&name);
    if good {
        return Ok(());
    }
    Err(StorageError::invalid_bucket_name())
}

/// A bucket named by a request's path.
pub(super) struct Bucket(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Bucket {
    type Rejection = StorageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path(bucket) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| StorageError::invalid_bucket_name())?;
        self::bucket(&bucket).map_err(|_| StorageError::no_such_bucket())?;
        Ok(Self(bucket))
    }
}

/// An object named by a request's path.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) bucket: String,
    pub(super) name: String,
}

impl Place {
    /// Bucket and name in one, as the real service writes them.
    pub(super) fn full(&self) -> String {
        format!("{}/{}", self.bucket, self.name)
    }

    /// A place named by a request's body.
    pub(super) fn new(bucket: &str, name: &str) -> Result<Self> {
        self::bucket(bucket).map_err(|_| StorageError::no_such_bucket())?;
        object(name)?;
        Ok(Self {
            bucket: bucket.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Place {
    type Rejection = StorageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path((bucket, name)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|_| StorageError::invalid_name(parts.uri.path()))?;
        Self::new(&bucket, &name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_good() {
        for name in [
            "a",
            "a/b/c.pdf",
            "My file (1).pdf",
            "..a/b..",
            ".hidden",
            "a'b&c=d@e",
        ] {
            assert!(object(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_that_climb_or_hide_are_refused() {
        let long = "a".repeat(1025);
        let long_segment = format!("a/{}", "b".repeat(256));
        for name in [
            "",
            "/a",
            "a/",
            "a//b",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "./a",
            "a/./b",
            "a\\..\\b",
            "a\0b",
            "a\nb",
            "a%2e%2e",
            "a?b",
            "a#b",
            "\u{202e}fdp.exe",
            "é",
            " a",
            "a ",
            "a/ /b",
            "<a>",
            "a|b",
            "~",
            "`a`",
            &long,
            &long_segment,
        ] {
            assert!(object(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_bucket_is_no_word_of_the_routes() {
        for name in [
            "", "sign", "public", "a/b", "..", ".", " a", "a\0", "list", "é",
        ] {
            assert!(bucket(name).is_err(), "{name:?}");
        }
        assert!(bucket("hand-ins").is_ok() && bucket("My bucket").is_ok());
    }
}
